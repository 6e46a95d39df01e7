//! Heads of HTTP messages: one representation for HTTP/1.1 and HTTP/2, downstream and upstream.
//!
//! A head is one buffer with an index, so that its size is known while it waits, and so that a decision reads the same
//! bytes whatever protocol they came by. Framing (`Content-Length`, `Transfer-Encoding`, `END_STREAM`) is read once, when
//! a head is parsed, into a [`BodyLength`]; it is written anew from that.

mod fields;
mod name;
mod request;
mod response;

pub use fields::{Field, Fields, Mark};
pub use name::Name;
pub use request::{Authority, RequestHead};
pub use response::ResponseHead;

/// The protocol version that a message came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, and the connection closes unless it says `keep-alive`.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// The name in access logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// The length of a body, as its message's framing says it (RFC 9112 §6.3, RFC 9113 §8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No body: neither data nor trailers follow.
    #[default]
    Empty,
    /// This many bytes.
    Exact(u64),
    /// Ends with the last chunk, with `END_STREAM`, or with the connection.
    Unknown,
}
