//! Answers that the gateway gives itself.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::forwarded::REQUEST_ID;
use super::probe::NETWORK_HASH;

/// How long the rest of a request's body is read before its connection is closed instead of reused.
pub(super) const DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// An answer of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// One line that says what is the matter.
    pub body: String,
    /// The value of `Location`.
    pub location: Option<String>,
    /// The value of `K-Network-Hash`, in the answer to a probe.
    pub network_hash: Option<String>,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Whether the connection can go on: not after a request whose extent is in doubt.
    pub keeps_connection: bool,
}

impl Answer {
    /// An answer with a line of text.
    pub fn new(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            location: None,
            network_hash: None,
            retry_after: None,
            keeps_connection: true,
        }
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.keeps_connection = false;
        self
    }

    fn header(&self, request_id: &HeaderValue, length: usize) -> Result<ResponseHeader> {
        let mut header = ResponseHeader::build(self.status, Some(6))?;
        header.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))?;
        header.insert_header(header::CONTENT_LENGTH, length)?;
        if !request_id.is_empty() {
            header.insert_header(REQUEST_ID, request_id.clone())?;
        }
        if let Some(location) = &self.location {
            header.insert_header(header::LOCATION, location.as_str())?;
        }
        if let Some(hash) = &self.network_hash {
            header.insert_header(NETWORK_HASH, hash.as_str())?;
        }
        if let Some(seconds) = self.retry_after {
            header.insert_header(header::RETRY_AFTER, seconds)?;
        }
        Ok(header)
    }
}

/// Writes an answer, unless another one was begun.
///
/// # Errors
/// When the client is gone.
pub async fn respond(session: &mut Session, answer: &Answer, request_id: &HeaderValue) -> Result<()> {
    if session.response_written().is_some_and(|written| !written.status.is_informational()) {
        return Ok(());
    }
    let body = format!("{}\n", answer.body);
    let header = Box::new(answer.header(request_id, body.len())?);
    session.set_total_drain_timeout(Some(DRAIN));
    if !answer.keeps_connection {
        session.set_keepalive(None);
    }
    let has_body = session.req_header().method != http::Method::HEAD;
    session.write_response_header(header, !has_body).await?;
    if has_body {
        session.write_response_body(Some(Bytes::from(body)), true).await?;
    }
    Ok(())
}
