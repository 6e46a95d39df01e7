//! An endpoint's side of an exchange over HTTP/2.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, header};

use super::driver::Shared;
use super::reception::Reception;
use crate::exchange::{EndpointError, EndpointStream};
use crate::http2::fields;
use crate::http2::outgoing::{Chunk, Gone, Outgoing};
use crate::message::{BodyLength, Fields, RequestHead, ResponseHead};

/// One request to an endpoint and its response, on a stream of a shared connection.
#[derive(Debug)]
pub(crate) struct Http2Exchange {
    state: State,
    is_reused: bool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum State {
    Head(SendRequest<Chunk>),
    Open {
        request: Outgoing,
        response: Arc<Reception>,
    },
    /// The request was not sent.
    Failed(EndpointError),
}

impl Http2Exchange {
    pub(super) fn new(requests: SendRequest<Chunk>, shared: Arc<Shared>, is_reused: bool) -> Self {
        shared.streams.fetch_add(1, Relaxed);
        Self { state: State::Head(requests), is_reused, shared }
    }

    fn open(&self, requests: &mut SendRequest<Chunk>, head: &RequestHead) -> State {
        let Some(request) = request_of(head) else { return State::Failed(EndpointError::Malformed) };
        let has_ended = head.body == BodyLength::Empty;
        match requests.send_request(request, has_ended) {
            Ok((response, stream)) => {
                let reception = Reception::new(head.method.clone());
                self.shared.receive(&reception, response);
                State::Open { request: Outgoing::new(stream, has_ended), response: reception }
            }
            // Nothing was sent, whatever the reason.
            Err(_) => State::Failed(EndpointError::NotProcessed),
        }
    }

    fn poll_sending(
        &mut self,
        cx: &mut Context<'_>,
        poll: fn(&mut Outgoing, &mut Context<'_>) -> Poll<Result<(), Gone>>,
    ) -> Poll<Result<(), EndpointError>> {
        match &mut self.state {
            State::Open { request, response } => {
                poll(request, cx).map_err(|Gone| response.error().unwrap_or(EndpointError::Broken))
            }
            State::Head(_) => Poll::Ready(Ok(())),
            State::Failed(error) => Poll::Ready(Err(*error)),
        }
    }
}

impl EndpointStream for Http2Exchange {
    fn send_head(&mut self, head: &RequestHead) {
        if let State::Head(requests) = &mut self.state {
            let mut requests = requests.clone();
            self.state = self.open(&mut requests, head);
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.poll_sending(cx, Outgoing::poll_ready)
    }

    fn send_data(&mut self, data: Bytes) {
        if let State::Open { request, .. } = &mut self.state {
            request.send(data);
        }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        if let State::Open { request, .. } = &mut self.state {
            request.end(trailers.filter(|trailers| !trailers.is_empty()).map(fields::trailers_to_map));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        self.poll_sending(cx, Outgoing::poll_flush)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, EndpointError>> {
        match &mut self.state {
            State::Open { response, .. } => response.poll_head(cx),
            State::Head(_) => Poll::Pending,
            State::Failed(error) => Poll::Ready(Err(*error)),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, EndpointError>> {
        match &mut self.state {
            State::Open { response, .. } => response.poll_data(cx),
            State::Head(_) => Poll::Pending,
            State::Failed(error) => Poll::Ready(Err(*error)),
        }
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        match &self.state {
            State::Open { response, .. } => response.take_trailers(),
            _ => None,
        }
    }

    /// An upgrade is sent over HTTP/1.1.
    fn start_tunnel(&mut self) {}

    fn is_reused(&self) -> bool {
        self.is_reused
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        if let State::Open { request, response } = &mut self.state {
            let is_complete = response.cancel() && request.has_ended();
            if !is_complete {
                request.reset(Reason::CANCEL);
            }
        }
        self.shared.streams.fetch_sub(1, Relaxed);
    }
}

/// Returns `None` for an authority or a target that HTTP/2 cannot carry.
fn request_of(head: &RequestHead) -> Option<Request<()>> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(Authority::try_from(&*head.authority).ok()?);
    uri.path_and_query = Some(target_of(&head.target)?);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.headers_mut() = fields_of(head);
    Some(request)
}

fn fields_of(head: &RequestHead) -> HeaderMap {
    let mut map = fields::to_map(&head.fields);
    if let BodyLength::Exact(length) = head.body {
        map.insert(header::CONTENT_LENGTH, length.into());
    }
    if head.takes_trailers {
        map.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    map
}

/// Bytes that the `http` crate takes for no part of a target are percent-encoded, which means the same (RFC 3986 §2.1).
fn target_of(target: &[u8]) -> Option<PathAndQuery> {
    PathAndQuery::try_from(target).or_else(|_| PathAndQuery::try_from(encoded(target))).ok()
}

fn encoded(target: &[u8]) -> String {
    let mut encoded = String::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=b' ' | 0x7f.. => {
                // A string takes everything.
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(*byte)),
        }
    }
    encoded
}
