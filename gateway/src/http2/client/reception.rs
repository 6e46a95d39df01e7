//! A response as it comes. The connection's task takes it from `h2`, whether or not anybody reads it: its frames need more
//! memory there than they hold bytes.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::ResponseFuture;
use http::{Method, Response};

use crate::exchange::EndpointError;
use crate::http2::fields;
use crate::http2::incoming::Incoming;
use crate::message::{BodyLength, Fields, ResponseHead, Version};

/// Interim responses that may wait; more are malformed.
const INTERIM: usize = 16;

/// A response, shared by the exchange that reads it and the connection's task that receives it.
#[derive(Debug)]
pub(super) struct Reception(Mutex<State>);

#[derive(Debug)]
struct State {
    heads: VecDeque<ResponseHead>,
    body: Option<Incoming<EndpointError>>,
    error: Option<EndpointError>,
    /// The exchange, if it waits.
    reader: Option<Waker>,
    is_cancelled: bool,
    is_complete: bool,
    method: Method,
}

impl Reception {
    pub(super) fn new(method: Method) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            heads: VecDeque::new(),
            body: None,
            error: None,
            reader: None,
            is_cancelled: false,
            is_complete: false,
            method,
        })))
    }

    /// Receives the response to its end. Returns early if it is cancelled.
    pub(super) async fn receive(self: Arc<Self>, mut response: ResponseFuture) {
        poll_fn(|cx| self.lock().poll_heads(&mut response, cx)).await;
        drop(response);
        poll_fn(|cx| self.lock().poll_body(cx)).await;
    }

    /// The connection is at its end before the request was sent, or while it was.
    pub(super) fn fail(&self, error: EndpointError) {
        let mut state = self.lock();
        state.error.get_or_insert(error);
        state.wake();
    }

    /// Nobody reads on: what has come is dropped. Returns `true` if the response was complete.
    pub(super) fn cancel(&self) -> bool {
        let mut state = self.lock();
        state.is_cancelled = true;
        let body = state.body.take();
        let is_complete = state.is_complete;
        drop(state);
        // It takes the connection's lock.
        drop(body);
        is_complete
    }

    /// Yields the next head.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, EndpointError>> {
        let mut state = self.lock();
        if let Some(head) = state.heads.pop_front() {
            return Poll::Ready(Ok(head));
        }
        match state.error {
            Some(error) => Poll::Ready(Err(error)),
            None => state.wait(cx),
        }
    }

    /// Yields the next bytes of the body; `None` after the last.
    pub(super) fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, EndpointError>> {
        let mut state = self.lock();
        let error = state.error;
        let Some(body) = &mut state.body else { return Poll::Ready(error.map_or(Ok(None), Err)) };
        match body.take_data() {
            Ok(None) if !body.has_ended() => state.wait(cx),
            taken => Poll::Ready(taken),
        }
    }

    pub(super) fn take_trailers(&self) -> Option<Fields> {
        self.lock().body.as_mut()?.take_trailers()
    }

    /// Returns why the response cannot be completed, if that is known.
    pub(super) fn error(&self) -> Option<EndpointError> {
        let state = self.lock();
        state.error.or_else(|| state.body.as_ref()?.error())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_heads(&mut self, response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_cancelled {
                return Poll::Ready(());
            }
            let polled = match ready!(response.poll_informational(cx)) {
                Some(interim) => interim.map(|interim| self.interim(&interim)),
                None => match ready!(Pin::new(&mut *response).poll(cx)) {
                    Ok(last) => {
                        self.last(last);
                        return Poll::Ready(());
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = polled {
                self.error = Some(endpoint_error(&error));
            }
            self.wake();
            if self.error.is_some() {
                return Poll::Ready(());
            }
        }
    }

    fn interim(&mut self, head: &Response<()>) {
        if self.heads.len() < INTERIM {
            self.heads.push_back(head_of(head, BodyLength::Empty));
        } else {
            self.error = Some(EndpointError::Malformed);
        }
    }

    fn last(&mut self, response: Response<h2::RecvStream>) {
        let (parts, body) = response.into_parts();
        let response = Response::from_parts(parts, ());
        let status = response.status().as_u16();
        let is_bodiless = self.method == Method::HEAD || ResponseHead::is_bodiless(status);
        self.is_complete = body.is_end_stream();
        let length = match fields::content_length(response.headers()) {
            _ if self.is_complete || is_bodiless => BodyLength::Empty,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::Unknown,
        };
        self.heads.push_back(head_of(&response, length));
        if !self.is_complete {
            self.body = Some(Incoming::new(body, endpoint_error));
        }
        self.wake();
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else { return Poll::Ready(()) };
        let polled = body.absorb(cx);
        self.is_complete = polled.is_ready() && body.error().is_none();
        if body.is_readable() {
            self.wake();
        }
        polled
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            None => self.reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

fn head_of(response: &Response<()>, body: BodyLength) -> ResponseHead {
    let mut fields = Fields::from_map(response.headers());
    fields.retain(|field| !field.known.is_hop_by_hop());
    ResponseHead { version: Version::Http2, status: response.status().as_u16(), fields, body }
}

/// A GOAWAY is the error of a stream only if it leaves the stream out (RFC 9113 §6.8).
fn endpoint_error(error: &h2::Error) -> EndpointError {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        EndpointError::NotProcessed
    } else if error.is_library() {
        EndpointError::Malformed
    } else {
        EndpointError::Broken
    }
}
