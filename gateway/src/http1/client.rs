//! Connections to endpoints: one exchange after the other, with nothing held in between.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::RecvFlags;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::body_writer::BodyWriter;
use super::decode::{Decoded, Decoder};
use super::encode;
use super::head_end::{HeadEnd, LineEnds};
use super::input;
use super::output::Output;
use super::response::parse;
use crate::connection::HEADER_LIMIT;
use crate::exchange::{EndpointError, EndpointStream};
use crate::message::{Fields, RequestHead, ResponseHead};

/// Room for the first read of a response: its head, and all of a small body. A buffer for the largest chunk is made once
/// there is more of the body.
const HEAD_ROOM: usize = 4 * 1024;

/// A connection on which nothing is under way. It holds no buffer.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    tcp: TcpStream,
    keep_for: Option<Duration>,
}

impl IdleConnection {
    #[cfg(test)]
    pub(crate) fn new(tcp: TcpStream, keep_for: Option<Duration>) -> Self {
        Self { tcp, keep_for }
    }

    /// Returns the time after which the endpoint closes the connection if it stays idle: of `Keep-Alive: timeout=…`.
    pub(crate) fn keep_alive(&self) -> Option<Duration> {
        self.keep_for
    }

    /// Returns `true` if the endpoint has closed the connection, or has sent bytes that nobody asked for.
    pub(crate) fn is_stale(&self) -> bool {
        let mut byte = [0];
        let peeked = rustix::net::recv(&self.tcp, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }
}

/// The side of an endpoint that speaks HTTP/1.1 or HTTP/1.0.
#[derive(Debug)]
pub(crate) struct Http1Exchange {
    tcp: TcpStream,
    is_reused: bool,
    input: BytesMut,
    output: Output,
    request: Request,
    response: Response,
}

/// State of the request.
#[derive(Debug, Default)]
struct Request {
    /// `None` before the head.
    writer: Option<BodyWriter>,
    to_head: bool,
    asks_upgrade: bool,
    /// Whether the sending half is shut down once everything has been sent.
    ends_sending: bool,
}

/// State of the response.
#[derive(Debug)]
struct Response {
    end: HeadEnd,
    /// The body's decoder, once the final head is there.
    body: Option<Decoder>,
    keep_alive: bool,
    keep_for: Option<Duration>,
}

impl Http1Exchange {
    /// Begins the first exchange of a connection.
    pub(crate) fn fresh(tcp: TcpStream) -> Self {
        Self::new(tcp, false)
    }

    /// Begins another exchange of a connection.
    pub(crate) fn reused(idle: IdleConnection) -> Self {
        Self::new(idle.tcp, true)
    }

    fn new(tcp: TcpStream, is_reused: bool) -> Self {
        let response = Response { end: HeadEnd::new(LineEnds::Lenient), body: None, keep_alive: false, keep_for: None };
        Self {
            tcp,
            is_reused,
            input: BytesMut::new(),
            output: Output::default(),
            request: Request::default(),
            response,
        }
    }

    /// Returns the connection for another exchange: if both messages are complete, nothing is left over, and the endpoint
    /// lets it persist.
    pub(crate) fn into_idle(self) -> Option<IdleConnection> {
        let has_responded = self.response.body.as_ref().is_some_and(Decoder::is_done);
        let is_idle = has_responded
            && self.request.writer == Some(BodyWriter::Done)
            && self.output.is_empty()
            && self.input.is_empty();
        let persists = is_idle && self.response.keep_alive;
        persists.then_some(IdleConnection { tcp: self.tcp, keep_for: self.response.keep_for })
    }

    /// Reads up to about `room` bytes behind what is there; 0 if the endpoint sends nothing more.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Result<usize, EndpointError>> {
        input::poll_read(&mut self.tcp, cx, &mut self.input, room).map_err(broken)
    }

    /// Parses the head of this length and consumes it.
    fn parse(&mut self, length: usize) -> Result<ResponseHead, EndpointError> {
        let parsed = parse(&self.input[..length], self.request.to_head).map_err(|_| EndpointError::Malformed)?;
        self.input.advance(length);
        self.response.end = HeadEnd::new(LineEnds::Lenient);
        if !parsed.head.is_interim() {
            // Nobody knows what an endpoint speaks that switches unasked.
            if parsed.head.status == 101 && !self.request.asks_upgrade {
                return Err(EndpointError::Malformed);
            }
            self.response.body = Some(parsed.decoder);
            self.response.keep_alive = parsed.keep_alive && parsed.head.status != 101;
            self.response.keep_for = parsed.keep_for;
        }
        Ok(parsed.head)
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.output.poll_drain(cx, &mut self.tcp).map_err(broken)
    }
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn broken(_: io::Error) -> EndpointError {
    EndpointError::Broken
}

impl EndpointStream for Http1Exchange {
    fn send_head(&mut self, head: &RequestHead) {
        self.request.writer = Some(encode::request(self.output.tail(), head));
        self.request.to_head = head.method == http::Method::HEAD;
        self.request.asks_upgrade = head.upgrade.is_some();
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        if self.output.has_room() { Poll::Ready(Ok(())) } else { self.poll_out(cx) }
    }

    fn send_data(&mut self, data: Bytes) {
        if let Some(writer) = &mut self.request.writer {
            writer.data(&mut self.output, data);
        }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        self.request.ends_sending = self.request.writer == Some(BodyWriter::UntilClose);
        if let Some(writer) = &mut self.request.writer {
            // Without all of its bytes the message stays open, and the connection is not used again.
            let _ = writer.end(&mut self.output, trailers);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        ready!(self.poll_out(cx))?;
        if self.request.ends_sending {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx)).map_err(broken)?;
            self.request.ends_sending = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, EndpointError>> {
        loop {
            match self.response.end.find(&self.input) {
                Ok(Some(length)) if length <= HEADER_LIMIT as usize => return Poll::Ready(self.parse(length)),
                Ok(None) if self.input.len() < HEADER_LIMIT as usize => {}
                _ => return Poll::Ready(Err(EndpointError::Malformed)),
            }
            if ready!(self.poll_read(cx, HEAD_ROOM))? == 0 {
                return Poll::Ready(Err(EndpointError::Broken));
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, EndpointError>> {
        loop {
            let Some(body) = &mut self.response.body else { return Poll::Ready(Ok(None)) };
            match body.decode(&mut self.input) {
                Ok(Decoded::Data(data)) => return Poll::Ready(Ok(Some(data))),
                Ok(Decoded::End) => return Poll::Ready(Ok(None)),
                Ok(Decoded::Incomplete) => {}
                Err(_) => return Poll::Ready(Err(EndpointError::Malformed)),
            }
            let room = body.wants();
            if ready!(self.poll_read(cx, room))? == 0 {
                let ends = self.response.body.as_mut().is_some_and(Decoder::ends_with_input);
                return Poll::Ready(if ends { Ok(None) } else { Err(EndpointError::Broken) });
            }
        }
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        self.response.body.as_mut()?.take_trailers()
    }

    fn start_tunnel(&mut self) {
        self.request.writer = Some(BodyWriter::UntilClose);
        self.response.body = Some(Decoder::UntilClose);
        self.response.keep_alive = false;
    }

    fn is_reused(&self) -> bool {
        self.is_reused
    }
}

#[cfg(test)]
mod tests;
