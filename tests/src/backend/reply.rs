//! What a backend answers.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, UPGRADE};
use hyper::{Request, Response, StatusCode};

use super::{Seen, State, websocket};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Size of a part of `/-/parts/N`.
const PART: usize = 1_024;

pub(super) async fn reply(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let name = state.name.clone();
    let mut response = if request.headers().contains_key(UPGRADE) {
        websocket::accept(request)
    } else {
        by_path(state, request).await
    };
    if let Ok(value) = name.parse() {
        response.headers_mut().insert("x-backend", value);
    }
    Ok(response)
}

async fn by_path(state: Arc<State>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut parts = path.strip_prefix("/-/").unwrap_or_default().split('/');
    let command = parts.next().unwrap_or_default();
    let number: usize = parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
    match command {
        "bytes" => Response::new(full(vec![b'x'; number])),
        "parts" => Response::new(gated_parts(state, number)),
        "hold" => {
            wait(&state).await;
            seen(&state, request).await
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number as u64)).await;
            seen(&state, request).await
        }
        "status" => status(u16::try_from(number).unwrap_or_default()),
        "echo" => Response::new(request.into_body().map_err(io::Error::other).boxed_unsync()),
        "abort" => abort(state),
        _ => seen(&state, request).await,
    }
}

/// Takes one permit.
async fn wait(state: &State) {
    state.waiting.fetch_add(1, Ordering::SeqCst);
    if let Ok(permit) = state.permits.acquire().await {
        permit.forget();
    }
    state.waiting.fetch_sub(1, Ordering::SeqCst);
}

async fn seen(state: &State, request: Request<Incoming>) -> Response<Body> {
    let mut seen = Seen::of(&state.name, &request);
    let Ok(body) = request.into_body().collect().await else { return status(400) };
    seen.body_bytes = body.to_bytes().len();
    // Texts and numbers always have a JSON form.
    Response::new(full(serde_json::to_vec(&seen).unwrap_or_default()))
}

fn gated_parts(state: Arc<State>, count: usize) -> Body {
    let parts = stream::iter(0..count).then(move |_| {
        let state = Arc::clone(&state);
        async move {
            wait(&state).await;
            Ok(Frame::data(Bytes::from(vec![b'p'; PART])))
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(parts))
}

fn abort(state: Arc<State>) -> Response<Body> {
    let broken = async move {
        wait(&state).await;
        Err(io::Error::other("breaking off"))
    };
    let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"0123456789")))]);
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(begun.chain(stream::once(broken)))));
    response.headers_mut().insert(CONTENT_LENGTH, 1_000.into());
    response
}

pub(super) fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

pub(super) fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}
