//! One request to the API server, and what can go wrong with it.
//!
//! Not `kube::Client::request`: it logs the body of an answer that it cannot read, which may be a Secret, and it drops
//! `Retry-After`.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::metrics::{self, Verb};
use crate::causes;

/// What is read of the body of an answer that says no.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// No server makes us wait longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The server answered no.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// What the server says about it.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke before an answer came.
    #[error("the API server cannot be reached: {reason}")]
    Unreachable {
        /// Why, down to the first cause.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("the API server has said nothing for {} s", after.as_secs())]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The connection broke amid an answer.
    #[error("the connection to the API server broke: {reason}")]
    Broken {
        /// Why, down to the first cause.
        reason: String,
    },
    /// The server has not reached a version that it had before, or that another one has.
    #[error("the API server has not reached version {version}")]
    Behind {
        /// The version that it was asked for.
        version: String,
    },
    /// The answer is larger than anything that fits.
    #[error("the answer of the API server is larger than {limit} bytes")]
    TooLarge {
        /// What would have been read.
        limit: usize,
    },
    /// The answer is not what the API says.
    #[error("the answer of the API server is not as the API has it: {reason}")]
    Unreadable {
        /// What is wrong; nothing of the content.
        reason: String,
    },
}

impl Failure {
    /// The status, where there is one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The label value for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused { code: 401, .. } => "unauthorized",
            Self::Refused { code: 403, .. } => "forbidden",
            Self::Refused { code: 404, .. } => "not_found",
            Self::Refused { code: 410, .. } => "expired",
            Self::Refused { code: 429, .. } => "throttled",
            Self::Refused { code: 500.., .. } => "server_error",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Stalled { .. } => "stalled",
            Self::Broken { .. } => "broken",
            Self::Behind { .. } => "behind",
            Self::TooLarge { .. } => "too_large",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// Returns `true` if the server says so (`IsTooLargeResourceVersion` of apimachinery, which looks at the cause).
    pub(super) fn is_too_large_version(&self) -> bool {
        matches!(self, Self::Refused { code: 504, message, .. } if message.contains("Too large resource version"))
    }

    /// What kube says, down to the first cause.
    fn unreachable(error: &kube::Error) -> Self {
        Self::Unreachable { reason: causes(error) }
    }

    /// An answer could not be read. Serde's own text may repeat content, so only the place is kept.
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        Self::Unreadable { reason: place(error) }
    }
}

/// Where in a JSON text an error is, and of which kind; nothing of the text.
pub(super) fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a value of an unexpected type",
        serde_json::error::Category::Eof => "an end amid the text",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "no JSON",
    };
    format!("{kind} in line {} column {}", error.line(), error.column())
}

/// Sends a request and returns the body of the answer, as soon as its head says that it is a good one.
pub(crate) async fn send(
    client: &Client,
    verb: Verb,
    request: http::Request<Vec<u8>>,
    deadline: Duration,
) -> Result<Body, Failure> {
    let answer = tokio::time::timeout(deadline, answer(client, request)).await;
    let result = answer.unwrap_or(Err(Failure::Stalled { after: deadline }));
    metrics::requested(verb, result.as_ref().err().map_or("ok", Failure::reason));
    result
}

async fn answer(client: &Client, request: http::Request<Vec<u8>>) -> Result<Body, Failure> {
    // kube logs each refusal as an error; what becomes of it is said by who asked.
    let answer = client.send(request.map(Body::from)).with_subscriber(Dispatch::none()).await;
    let answer = answer.map_err(|error| Failure::unreachable(&error))?;
    let (head, body) = answer.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let body = collect(body, MAX_REFUSAL_BYTES).await.unwrap_or_default();
    Err(refusal(head.status, &head.headers, &body))
}

/// Reads all of a body.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge { limit }),
        Err(error) => Err(Failure::Broken { reason: causes(&*error) }),
    }
}

/// The part of Kubernetes' `Status` that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    code: u16,
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: u64,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let seconds = status.details.map_or(0, |details| details.retry_after_seconds);
        let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        Self::Refused { code: status.code, message: status.message, retry_after }
    }
}

/// An answer that is not 2xx. Its body is a `Status`, or plain text where something else answers.
fn refusal(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(body).trim().chars().take(200).collect(),
        ..Status::default()
    });
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let details = header.map(|seconds| Details { retry_after_seconds: seconds }).or(status.details);
    Status { code: code.as_u16(), details, ..status }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_from_the_header_and_from_the_status_and_is_bounded() {
        let mut headers = HeaderMap::new();
        let code = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(refusal(code, &headers, b"busy").retry_after(), None);
        let status = br#"{"kind":"Status","message":"busy","details":{"retryAfterSeconds":3}}"#;
        assert_eq!(refusal(code, &headers, status).retry_after(), Some(Duration::from_secs(3)));
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(refusal(code, &headers, status).retry_after(), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "86400".parse().unwrap());
        assert_eq!(refusal(code, &headers, b"").retry_after(), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn an_unreadable_answer_is_reported_without_its_content() {
        let error = serde_json::from_str::<u8>("\"-----BEGIN PRIVATE KEY-----\"").unwrap_err();
        assert!(error.to_string().contains("BEGIN"), "serde repeats what it has read");
        assert!(!Failure::unreadable(&error).to_string().contains("BEGIN"));
    }
}
