//! Exchanges: one request and its response, from the client to an endpoint and back, whatever protocols the two speak.
//!
//! ```text
//!  http1::server ─┐ ClientStream                            EndpointStream ┌─ http1::client
//!                 ├──────────────► Handler::handle ─► relay ◄──────────────┤
//!  http2::server ─┘                (decide, reserve,   (copies both ways)  └─ http2::client
//!                                   choose, retry)
//! ```

pub(crate) mod relay;
pub(crate) mod replay;
pub mod side;

pub use side::{ClientError, ClientStream, EndpointError, EndpointStream, Handler};
