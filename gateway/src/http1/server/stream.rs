//! The client's side of one exchange after the other.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::super::body_writer::BodyWriter;
use super::super::decode::{Decoded, Decoder};
use super::super::encode::{self, Reply};
use super::super::request::Parsed;
use super::ServerContext;
use super::link::Link;
use crate::connection::{NARROW, WIDE, Wire};
use crate::drain::Phase;
use crate::exchange::{ClientError, ClientStream};
use crate::message::{Fields, ResponseHead, Version};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The side of a client that speaks HTTP/1.1 or HTTP/1.0.
#[derive(Debug)]
pub(super) struct Http1Stream<'a> {
    pub(super) link: Link,
    pub(super) context: ServerContext<'a>,
    pub(super) exchange: Exchange,
}

/// State of the exchange that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) reply: Reply,
    /// The client waits for 100 (Continue).
    awaits_continue: bool,
    pub(super) body: Decoder,
    pub(super) response: Response,
    writer: BodyWriter,
    body_bytes: u64,
    is_tunnel: bool,
    /// Whether the sending half is shut down once everything has been sent.
    ends_sending: bool,
    /// The error that a write has met.
    pub(super) failed: Option<ClientError>,
}

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Awaited,
    Begun,
    Ended,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            reply: Reply { version: Version::Http11, to_head: false, keep_alive: false },
            awaits_continue: false,
            body: Decoder::Done,
            response: Response::Awaited,
            writer: BodyWriter::Done,
            body_bytes: 0,
            is_tunnel: false,
            ends_sending: false,
            failed: None,
        }
    }
}

impl<'a> Http1Stream<'a> {
    pub(super) fn new(wire: Wire, context: ServerContext<'a>) -> Self {
        Self { link: Link::new(wire), context, exchange: Exchange::default() }
    }

    /// Begins the exchange of a request. The connection may persist after it if `may_persist`.
    pub(super) fn begin(&mut self, request: &Parsed, may_persist: bool) {
        let head = &request.head;
        self.exchange = Exchange {
            reply: Reply {
                version: head.version,
                to_head: head.method == http::Method::HEAD,
                keep_alive: request.keep_alive && may_persist,
            },
            awaits_continue: head.expects_continue,
            body: Decoder::of(head.body),
            ..Exchange::default()
        };
    }

    /// Returns whether the connection persists, as of now.
    fn persists(&self) -> bool {
        let watches = self.context.watches;
        // A client that still waits for 100 may send its body or not: nobody knows what comes next.
        self.exchange.reply.keep_alive
            && !self.exchange.awaits_continue
            && *watches.drain.borrow() < Phase::Draining
            && !watches.pressure.closes_after_response()
    }

    /// Returns `true` if a response that breaks off looks like one that has ended.
    pub(super) fn hides_abort(&self) -> bool {
        self.exchange.response == Response::Begun
            && self.exchange.writer == BodyWriter::UntilClose
            && !self.exchange.is_tunnel
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if let Some(error) = self.exchange.failed {
            return Poll::Ready(Err(error));
        }
        let flushed = ready!(self.link.poll_flush(cx, &self.context));
        self.exchange.failed = flushed.err();
        Poll::Ready(flushed)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>> {
        let room = self.exchange.body.wants();
        match ready!(self.link.poll_read(cx, room)) {
            Ok(0) if self.exchange.body.ends_with_input() => Poll::Ready(Ok(None)),
            Ok(0) | Err(_) => Poll::Ready(Err(ClientError::Gone)),
            Ok(_) => self.poll_body(cx),
        }
    }
}

impl ClientStream for Http1Stream<'_> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>> {
        match self.exchange.body.decode(&mut self.link.input) {
            Ok(Decoded::Data(data)) => {
                self.exchange.awaits_continue = false;
                return Poll::Ready(Ok(Some(data)));
            }
            Ok(Decoded::End) => return Poll::Ready(Ok(None)),
            Ok(Decoded::Incomplete) => {}
            Err(_) => {
                self.exchange.reply.keep_alive = false;
                return Poll::Ready(Err(ClientError::Malformed));
            }
        }
        if self.exchange.awaits_continue && self.exchange.response == Response::Awaited {
            self.exchange.awaits_continue = false;
            self.link.output.tail().extend_from_slice(CONTINUE);
            if let Poll::Ready(Err(error)) = self.poll_out(cx) {
                return Poll::Ready(Err(error));
            }
        }
        self.poll_more(cx)
    }

    fn widen(&mut self, is_wide: bool) {
        self.link.wire.set_receive_buffer(if is_wide { WIDE } else { NARROW });
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        self.exchange.body.take_trailers()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError> {
        match self.exchange.failed {
            Some(error) => Poll::Ready(error),
            None => self.link.wire.poll_gone(cx).map(|()| ClientError::Gone),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        let is_wanted = head.status != 100 || self.exchange.awaits_continue;
        if self.exchange.reply.version == Version::Http10 || self.exchange.response != Response::Awaited || !is_wanted {
            return;
        }
        self.exchange.awaits_continue &= head.status != 100;
        encode::interim(self.link.output.tail(), head);
    }

    fn send_head(&mut self, head: &ResponseHead) {
        if self.exchange.response != Response::Awaited {
            return;
        }
        self.exchange.reply.keep_alive = head.status != 101 && self.persists();
        self.exchange.writer = encode::response(self.link.output.tail(), head, self.exchange.reply);
        self.exchange.reply.keep_alive &= self.exchange.writer != BodyWriter::UntilClose;
        let has_ended = self.exchange.writer == BodyWriter::Done;
        self.exchange.response = if has_ended { Response::Ended } else { Response::Begun };
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if self.exchange.failed.is_none() && self.link.output.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.poll_out(cx)
    }

    fn send_data(&mut self, data: Bytes) {
        let sent = self.exchange.writer.data(&mut self.link.output, data);
        self.exchange.body_bytes += sent as u64;
        if self.exchange.writer == BodyWriter::Done && self.exchange.response == Response::Begun {
            self.exchange.response = Response::Ended;
        }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        if self.exchange.is_tunnel {
            self.exchange.ends_sending = true;
        }
        if self.exchange.response == Response::Begun && self.exchange.writer.end(&mut self.link.output, trailers) {
            self.exchange.response = Response::Ended;
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        ready!(self.poll_out(cx))?;
        if self.exchange.ends_sending {
            ready!(self.link.poll_shutdown(cx))?;
            self.exchange.ends_sending = false;
        }
        Poll::Ready(Ok(()))
    }

    fn start_tunnel(&mut self) {
        self.exchange.is_tunnel = true;
        self.exchange.reply.keep_alive = false;
        self.exchange.body = Decoder::UntilClose;
        self.exchange.writer = BodyWriter::UntilClose;
        self.exchange.response = Response::Begun;
    }

    fn close_after_response(&mut self) {
        self.exchange.reply.keep_alive = false;
    }

    fn abort(&mut self) {
        // What was begun stays so: the connection closes inside the body.
        self.exchange.reply.keep_alive = false;
        if !matches!(self.exchange.writer, BodyWriter::UntilClose) {
            self.exchange.writer = BodyWriter::Done;
        }
    }

    fn bytes_sent(&self) -> u64 {
        self.exchange.body_bytes.saturating_sub(self.link.output.len() as u64)
    }
}
