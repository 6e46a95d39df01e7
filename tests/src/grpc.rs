//! gRPC: a chat service, written without generated code, its server and its client (tonic).
//!
//! ```proto
//! service Chat {
//!   rpc Say(Line) returns (Line);
//!   rpc Talk(stream Line) returns (stream Line);
//! }
//! message Line { string text = 1; }
//! ```
//! Each line comes back with `re: ` in front. The line `fail` ends a call with status `ABORTED` and a trailer
//! `x-reason`; the line `bye` ends a talk well.

mod client;
mod server;

pub use client::ChatClient;
pub use server::GrpcBackend;

/// What is said.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Line {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// Path of the unary call.
const SAY: &str = "/test.Chat/Say";
/// Path of the call with streams both ways.
const TALK: &str = "/test.Chat/Talk";

impl Line {
    /// A line with this text.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}
