//! A stream of a client: one request and its response.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Response, StatusCode};

use super::fields;
use super::incoming::Incoming;
use super::outgoing::{Chunk, Gone, Outgoing};
use super::patience::{Patience, Stall};
use crate::exchange::{ClientError, ClientStream};
use crate::ledger::Account;
use crate::message::{BodyLength, Fields, ResponseHead, Version};

/// The body of a request. The task that serves the stream takes in what its handler leaves.
#[derive(Debug)]
pub(super) struct RequestBody(Mutex<Incoming<ClientError>>);

impl RequestBody {
    /// Takes in what comes of a stream, within the memory of its source.
    pub(super) fn new(stream: RecvStream, account: &Arc<Account>) -> Arc<Self> {
        let incoming = Incoming::new(stream, client_error).within(Arc::clone(account), ClientError::Shortage);
        Arc::new(Self(Mutex::new(incoming)))
    }

    /// Takes what has come from `h2`.
    pub(super) fn absorb(&self, cx: &mut Context<'_>) {
        // At its end there is nothing more to wait for.
        let _ = self.lock().absorb(cx);
    }

    fn lock(&self) -> MutexGuard<'_, Incoming<ClientError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's side of an exchange over HTTP/2.
#[derive(Debug)]
pub(super) struct ServerStream<'a> {
    body: Option<Arc<RequestBody>>,
    response: Sending,
    /// Whether the client still waits for 100 (Continue).
    expects_continue: bool,
    /// After this many bytes of the body nothing follows.
    ends_after: Option<u64>,
    bytes_sent: u64,
    is_aborted: bool,
    /// The round in which the client took something last, and what it had taken then.
    finishing: Option<(u32, u64)>,
    patience: &'a Patience,
    stall: Stall,
    /// Bytes that had been taken when the stall was measured last.
    taken: u64,
}

#[derive(Debug)]
enum Sending {
    Head(SendResponse<Chunk>),
    Body(Outgoing),
    /// `h2` did not take the head: the stream is closed.
    Closed,
}

impl<'a> ServerStream<'a> {
    pub(super) fn new(
        response: SendResponse<Chunk>,
        body: Option<Arc<RequestBody>>,
        expects_continue: bool,
        patience: &'a Patience,
    ) -> Self {
        Self {
            body,
            response: Sending::Head(response),
            expects_continue,
            ends_after: None,
            bytes_sent: 0,
            is_aborted: false,
            finishing: None,
            patience,
            stall: Stall::default(),
            taken: 0,
        }
    }

    /// Returns when the response is in the hands of `h2`. If it is not complete, the stream is reset, after what was sent of
    /// it: `rounds` counts how often `h2` has sent what it could, and what the client takes is waited for as long as it takes
    /// something in each.
    pub(super) fn poll_finish(&mut self, rounds: u32, cx: &mut Context<'_>) -> Poll<()> {
        let sending = match &mut self.response {
            Sending::Body(sending) if self.is_aborted || !sending.has_ended() => sending,
            Sending::Head(response) => {
                response.send_reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(());
            }
            Sending::Body(_) | Sending::Closed => return Poll::Ready(()),
        };
        let flushed = sending.poll_flush(cx);
        let now = (rounds, sending.taken());
        let last = self.finishing.get_or_insert(now);
        let is_stuck = last.0 != now.0 && last.1 == now.1;
        if is_stuck || flushed.is_ready() && last.0 != now.0 || flushed == Poll::Ready(Err(Gone)) {
            sending.reset(Reason::INTERNAL_ERROR);
            return Poll::Ready(());
        }
        if last.0 != now.0 {
            *last = now;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn sending(&mut self) -> Option<&mut Outgoing> {
        match &mut self.response {
            Sending::Body(sending) if !self.is_aborted => Some(sending),
            _ => None,
        }
    }

    /// Polls `h2` for room or progress; fails if the client makes none for too long.
    fn poll_sending(
        &mut self,
        cx: &mut Context<'_>,
        poll: fn(&mut Outgoing, &mut Context<'_>) -> Poll<Result<(), Gone>>,
    ) -> Poll<Result<(), ClientError>> {
        let sending = match &mut self.response {
            Sending::Body(sending) => sending,
            Sending::Head(_) => return Poll::Ready(Ok(())),
            Sending::Closed => return Poll::Ready(Err(ClientError::Gone)),
        };
        let polled = poll(sending, cx);
        let taken = sending.taken();
        if std::mem::replace(&mut self.taken, taken) != taken {
            self.stall.clear();
        }
        match polled {
            Poll::Ready(polled) => Poll::Ready(polled.map_err(|Gone| ClientError::Gone)),
            Poll::Pending => self.stall.poll(self.patience, cx).map(|()| Err(ClientError::TimedOut)),
        }
    }
}

impl ClientStream for ServerStream<'_> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>> {
        let Some(body) = &self.body else { return Poll::Ready(Ok(None)) };
        let polled = body.lock().poll_data(cx);
        if polled.is_pending() && std::mem::take(&mut self.expects_continue) {
            self.send_interim(&ResponseHead::new(100, BodyLength::Empty));
        }
        polled
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        self.body.as_ref()?.lock().take_trailers()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientError> {
        match &mut self.response {
            // An error: the connection is at its end.
            Sending::Head(response) => response.poll_reset(cx).map(|_| ClientError::Gone),
            Sending::Body(sending) => sending.poll_reset(cx).map(|()| ClientError::Gone),
            Sending::Closed => Poll::Ready(ClientError::Gone),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        let Sending::Head(response) = &mut self.response else { return };
        if let Some(head) = response_of(head.status, fields::to_map(&head.fields)) {
            // An error: the stream is closed, which the next poll finds out.
            let _ = response.send_informational(head);
        }
    }

    fn send_head(&mut self, head: &ResponseHead) {
        let Sending::Head(response) = &mut self.response else { return };
        let is_tunnel = head.status == 101;
        let has_ended = head.body == BodyLength::Empty && !is_tunnel;
        let mut fields = fields::to_map(&head.fields);
        let status = if is_tunnel { 200 } else { head.status };
        if is_tunnel {
            // RFC 8441 §5.1: there is none in HTTP/2.
            fields.remove(http::header::SEC_WEBSOCKET_ACCEPT);
        }
        let sent = response_of(status, fields).and_then(|head| response.send_response(head, has_ended).ok());
        // With HTTP/2, trailers may follow a body of known length.
        self.ends_after = match head.body {
            BodyLength::Exact(length) if head.version != Version::Http2 => Some(length),
            _ => None,
        };
        self.expects_continue = false;
        self.response = sent.map_or(Sending::Closed, |stream| Sending::Body(Outgoing::new(stream, has_ended)));
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.poll_sending(cx, Outgoing::poll_ready)
    }

    fn send_data(&mut self, data: Bytes) {
        self.bytes_sent += data.len() as u64;
        let is_last = self.ends_after == Some(self.bytes_sent);
        let Some(sending) = self.sending() else { return };
        if is_last { sending.send_last(data) } else { sending.send(data) }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        let Some(sending) = self.sending() else { return };
        sending.end(trailers.filter(|trailers| !trailers.is_empty()).map(fields::trailers_to_map));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.poll_sending(cx, Outgoing::poll_flush)
    }

    /// The bodies of an extended CONNECT are raw bytes already.
    fn start_tunnel(&mut self) {}

    /// A response cannot say so: the connection's own loop does, with GOAWAY.
    fn close_after_response(&mut self) {}

    fn abort(&mut self) {
        self.is_aborted = true;
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
}

fn response_of(status: u16, fields: HeaderMap) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = fields;
    Some(response)
}

fn client_error(error: &h2::Error) -> ClientError {
    let is_malformed = error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR);
    if is_malformed { ClientError::Malformed } else { ClientError::Gone }
}
