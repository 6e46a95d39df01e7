//! The two sides of an exchange, as the relay between them sees them.
//!
//! Both are polled from one task, and neither holds more than one chunk each way: what is not ready is not read. A `send_*`
//! call never waits; `poll_ready` says when it may be made, and `poll_flush` when what was sent has left the process.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::connection::Connection;
use crate::message::{Fields, RequestHead, ResponseHead};

/// The most bytes that one `send_data` may carry, and that one `poll_body` yields: a TLS record (RFC 8446 §5.1).
pub const CHUNK: usize = 16 * 1024;

/// Why the client's side of an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection broke, or the stream was reset.
    #[error("the client is gone")]
    Gone,
    /// The client neither sent nor took a byte for as long as it may.
    #[error("the client stalled")]
    TimedOut,
    /// The body's framing is not valid.
    #[error("malformed request body")]
    Malformed,
    /// There is no memory for what the client sends ahead of the endpoint.
    #[error("no memory for the request body")]
    Shortage,
}

/// Why the endpoint's side of an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The endpoint says that it did not process the request: `REFUSED_STREAM`, or a stream above the last one of a GOAWAY
    /// (RFC 9113 §8.7). Repeating it is safe for any method.
    #[error("the endpoint did not process the request")]
    NotProcessed,
    /// The connection broke, or the stream was reset.
    #[error("the endpoint broke off")]
    Broken,
    /// The endpoint was silent for longer than it may be.
    #[error("the endpoint was silent for too long")]
    TimedOut,
    /// The response is not valid HTTP, or larger than it may be.
    #[error("malformed response from the endpoint")]
    Malformed,
}

/// The client's side: yields the request's body and takes the response.
///
/// Dropped before the end of the response, it resets the stream (`INTERNAL_ERROR`) or closes the connection.
pub trait ClientStream: Send {
    /// Yields the next bytes of the request body, at most [`CHUNK`]; `None` after the last. Reading gives the client room to
    /// send more, and, if it waits for 100 (Continue), tells it to.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>>;

    /// Lets the client send more at once, for which memory is reserved; or no more than before.
    fn widen(&mut self, is_wide: bool) {
        let _ = is_wide;
    }

    /// Takes the trailers of the request, once `poll_body` has yielded `None`.
    fn take_trailers(&mut self) -> Option<Fields>;

    /// Returns when the client is known to be gone: its stream was reset or its connection broke. A client that has only
    /// shut down its sending half waits for its response (RFC 9112 §9.6) and is not gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError>;

    /// Sends an interim response, 100 included. Dropped for clients of HTTP/1.0 (RFC 9110 §15.2).
    fn send_interim(&mut self, head: &ResponseHead);

    /// Sends the final head. `head.body` says what follows; with [`BodyLength::Empty`](crate::message::BodyLength) nothing
    /// does, and the response is complete. 101 to HTTP/2 is sent as 200 (RFC 8441 §5).
    fn send_head(&mut self, head: &ResponseHead);

    /// Returns when there is room for another chunk of the body.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// Sends bytes of the body, at most [`CHUNK`], after `poll_ready`.
    fn send_data(&mut self, data: Bytes);

    /// Ends the body. Trailers are dropped where the client or the framing cannot carry them.
    fn send_end(&mut self, trailers: Option<&Fields>);

    /// Returns when what was sent is in the kernel's or the protocol library's hands as far as the client takes it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// The protocol has been switched (101, or extended CONNECT): from now on both bodies are raw bytes until each side ends
    /// its own.
    fn start_tunnel(&mut self);

    /// Ends the connection after this response, where a response can say so.
    fn close_after_response(&mut self);

    /// The response cannot be completed: what was sent stays, and the client sees that the end is missing (`RST_STREAM`
    /// with `INTERNAL_ERROR`, or a connection that closes inside the body).
    fn abort(&mut self);

    /// Returns the bytes of the response body that were sent so far, for the access log.
    fn bytes_sent(&self) -> u64;
}

/// The endpoint's side: takes the request and yields the response.
///
/// Dropped before the end of the response, it resets the stream (`CANCEL`) or closes the connection.
pub trait EndpointStream: Send {
    /// Sends the head. `head.body` says what follows.
    fn send_head(&mut self, head: &RequestHead);

    /// Returns when there is room for another chunk of the request body.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>>;

    /// Sends bytes of the body, at most [`CHUNK`], after `poll_ready`.
    fn send_data(&mut self, data: Bytes);

    /// Ends the body.
    fn send_end(&mut self, trailers: Option<&Fields>);

    /// Returns when what was sent has left the process as far as the endpoint takes it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>>;

    /// Yields the next head: interim ones first, then the final one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, EndpointError>>;

    /// Yields the next bytes of the response body, at most [`CHUNK`]; `None` after the last.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, EndpointError>>;

    /// Takes the trailers of the response, once `poll_body` has yielded `None`.
    fn take_trailers(&mut self) -> Option<Fields>;

    /// The protocol has been switched (101): from now on both bodies are raw bytes.
    fn start_tunnel(&mut self);

    /// Returns `true` if the connection had served a request before: the endpoint may have closed it since.
    fn is_reused(&self) -> bool;
}

/// Serves the requests that connections receive.
pub trait Handler: Send + Sync + 'static {
    /// Serves one request: sends exactly one final response through `client`, or aborts it.
    ///
    /// Dropped, it gives back what it holds; the request's access-log line says that it was cancelled.
    fn handle<C: ClientStream>(
        &self,
        connection: &Connection,
        head: RequestHead,
        client: &mut C,
    ) -> impl Future<Output = ()> + Send;

    /// Notes that the connection has refused a request whose head is not valid: with this status, for this reason.
    fn refused(&self, connection: &Connection, status: u16, reason: &'static str) {
        let _ = (connection, status, reason);
    }
}
