//! How answers of the admin and metrics listeners are made.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn as_json(value: &Value) -> Answer {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &Value) -> Answer {
    answer(status, "application/json", format!("{value:#}\n"))
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

pub(super) fn bad_request(message: impl std::fmt::Display) -> Answer {
    text(StatusCode::BAD_REQUEST, format!("{message}\n"))
}

pub(super) fn method_not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allow} is allowed here\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

pub(super) fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// RFC 3339; `None` for times that no calendar has.
pub(super) fn timestamp(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}
