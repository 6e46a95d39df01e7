//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::Shared;
use super::connection::Connection;
use super::crud;
use super::discovery;
use super::error::ApiError;
use super::fault::{Plan, Refusal};
use super::list;
use super::object;
use super::reply::{self, Body};
use super::request::{ApiRequest, Verb};
use super::watch;

/// The largest body that a real server takes.
const LARGEST_BODY: usize = 3 * 1_024 * 1_024;

/// Answers a request, or never does.
pub(super) async fn answer(shared: Arc<Shared>, connection: Connection, request: Request<Incoming>) -> Response<Body> {
    shared.silence.answering().await;
    let mut response = respond(&shared, &connection, request).await.unwrap_or_else(|error| reply::refusal(&error));
    // An answer that was on its way when silence began doesn't arrive in it.
    shared.silence.answering().await;
    if let Some(date) = date(&shared) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn respond(
    shared: &Arc<Shared>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let path = request.uri().path();
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(reply::json_bytes(StatusCode::OK, "ok"));
    }
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = shared.access.authenticate(authorization)?;
    if let Some(about_itself) = discovery::answer(path, shared.minor) {
        return Ok(reply::json_value(StatusCode::OK, &about_itself));
    }
    let api_request = ApiRequest::parse(request.method(), request.uri(), request.headers())?;
    shared.requests.record(&api_request, &user);
    let plan = shared.faults.plan(&api_request);
    tokio::time::sleep(plan.delay).await;
    match plan.refusal.clone() {
        Some(Refusal::Error(error)) => return Err(error),
        Some(Refusal::Reset) => return connection.reset().await,
        Some(Refusal::Stall) => return std::future::pending().await,
        None => {}
    }
    shared.access.authorize(&user, &api_request)?;
    let reset_after = plan.reset_after;
    let body = read(request.into_body()).await?;
    let response = dispatch(shared, api_request, plan, &body)?;
    Ok(match reset_after {
        Some(bytes) => response.map(|body| connection.reset_after(body, bytes)),
        None => response,
    })
}

fn dispatch(shared: &Arc<Shared>, request: ApiRequest, plan: Plan, body: &[u8]) -> Result<Response<Body>, ApiError> {
    match request.verb {
        Verb::Get => get(shared, &request),
        Verb::List if plan.gone && !request.query.text("continue").is_empty() => Err(ApiError::expired_continue(None)),
        Verb::List => list::list(&shared.store, &request),
        Verb::Watch => watch::watch(shared, request, plan),
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => {
            crud::write(shared, &request, body)
        }
    }
}

fn get(shared: &Shared, request: &ApiRequest) -> Result<Response<Body>, ApiError> {
    let name = request.name.as_deref().unwrap_or_default();
    let key = object::key(request.namespace.as_deref().unwrap_or_default(), name);
    let object = shared.store.get(request.kind, &key).ok_or_else(|| ApiError::not_found(request.kind, name))?;
    Ok(reply::json_bytes(StatusCode::OK, request.shape.object(&object)))
}

async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let too_large = |_| {
        let message = format!("Request entity too large: limit is {LARGEST_BODY}");
        ApiError::new(413, "RequestEntityTooLarge", message)
    };
    Ok(Limited::new(body, LARGEST_BODY).collect().await.map_err(too_large)?.to_bytes())
}

fn date(shared: &Shared) -> Option<HeaderValue> {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.clock.now()).ok()?;
    HeaderValue::from_str(&text).ok()
}
