//! Responses that the gateway makes itself.

use std::fmt::Write;

use bytes::Bytes;
use http::StatusCode;

use crate::exchange::{ClientError, ClientStream};
use crate::message::{BodyLength, Fields, Name, RequestHead, ResponseHead};

/// gRPC status codes (grpc/grpc `doc/statuscodes.md`) that the gateway sends.
const UNKNOWN: u8 = 2;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// A response of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// One line that says what is the matter.
    pub body: String,
    /// Further fields.
    pub fields: Vec<(Name, String)>,
    /// Whether the connection can go on: not after a request whose extent is in doubt.
    pub keeps_connection: bool,
}

impl Reply {
    /// Creates a response with a line of text.
    pub fn new(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), fields: Vec::new(), keeps_connection: true }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: Name, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Closes the connection after the response.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.keeps_connection = false;
        self
    }

    /// Returns the head and the body for a request; an empty one unless `has_body`.
    fn message(&self, head: &RequestHead, request_id: &[u8], has_body: bool) -> (ResponseHead, Bytes) {
        if head.is_grpc() {
            return (self.grpc(request_id), Bytes::new());
        }
        let mut fields = Fields::with_capacity(96);
        if !has_body {
            self.append_to(&mut fields, request_id);
            let head = ResponseHead::new(self.status.as_u16(), BodyLength::Empty);
            return (ResponseHead { fields, ..head }, Bytes::new());
        }
        let body = Bytes::from(format!("{}\n", self.body));
        fields.append_known(Name::ContentType, b"text/plain; charset=utf-8");
        fields.append_known(Name::ContentLength, body.len().to_string().as_bytes());
        self.append_to(&mut fields, request_id);
        let is_head = head.method == http::Method::HEAD;
        let length = if is_head { BodyLength::Empty } else { BodyLength::Exact(body.len() as u64) };
        let body = if is_head { Bytes::new() } else { body };
        (ResponseHead { fields, ..ResponseHead::new(self.status.as_u16(), length) }, body)
    }

    /// Returns a trailers-only response (grpc/grpc `doc/PROTOCOL-HTTP2.md`). A redirect stays one: a client that follows it
    /// finds the service.
    fn grpc(&self, request_id: &[u8]) -> ResponseHead {
        let mut fields = Fields::with_capacity(128);
        fields.append_known(Name::ContentType, b"application/grpc");
        let is_ok = self.status.is_success();
        let code = if is_ok { 0 } else { grpc_code(self.status) };
        fields.append_known(Name::GrpcStatus, code.to_string().as_bytes());
        if !is_ok {
            fields.append_known(Name::GrpcMessage, percent_encode(&self.body).as_bytes());
        }
        self.append_to(&mut fields, request_id);
        ResponseHead { fields, ..ResponseHead::new(200, BodyLength::Empty) }
    }

    fn append_to(&self, fields: &mut Fields, request_id: &[u8]) {
        if !request_id.is_empty() {
            fields.append_known(Name::RequestId, request_id);
        }
        for (name, value) in &self.fields {
            fields.append_known(*name, value.as_bytes());
        }
    }
}

/// Maps an HTTP status as grpc-java, grpc-go and Envoy do (grpc/grpc `doc/http-grpc-status-mapping.md`); 421 and 431 say that
/// the request may go elsewhere or be smaller.
fn grpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        413 | 431 => RESOURCE_EXHAUSTED,
        421 | 429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// Encodes a `grpc-message`: printable ASCII but for `%` stays (`doc/PROTOCOL-HTTP2.md`, Status-Message).
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Sends a response of the gateway; with an empty body unless `has_body`.
///
/// # Errors
/// When the client is gone or takes nothing.
pub(super) async fn respond<C: ClientStream>(
    client: &mut C,
    head: &RequestHead,
    reply: &Reply,
    request_id: &[u8],
    has_body: bool,
) -> Result<(), ClientError> {
    let (response, body) = reply.message(head, request_id, has_body);
    if !reply.keeps_connection {
        client.close_after_response();
    }
    client.send_head(&response);
    if response.body != BodyLength::Empty {
        std::future::poll_fn(|cx| client.poll_ready(cx)).await?;
        client.send_data(body);
        client.send_end(None);
    }
    std::future::poll_fn(|cx| client.poll_flush(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Version;

    #[test]
    fn a_response_without_a_body_says_nothing_of_one() {
        let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, "no memory").with(Name::RetryAfter, "1");
        let (head, body) = reply.message(&request("text/html"), b"id", false);
        assert_eq!((head.status, head.body, body.len()), (503, BodyLength::Empty, 0));
        assert!(head.fields.contains(Name::RetryAfter) && head.fields.contains(Name::RequestId));
        assert!(!head.fields.contains(Name::ContentLength) && !head.fields.contains(Name::ContentType));
    }

    fn request(content_type: &str) -> RequestHead {
        let mut fields = Fields::default();
        fields.append(b"content-type", content_type.as_bytes());
        RequestHead {
            fields,
            body: BodyLength::Unknown,
            ..RequestHead::new(Version::Http2, http::Method::POST, b"shop.test", b"/")
        }
    }

    fn value(head: &ResponseHead, name: Name) -> Option<String> {
        head.fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn grpc_clients_get_a_status_of_theirs() {
        for (status, code) in [(404, "12"), (503, "14"), (504, "14"), (421, "14"), (400, "13"), (403, "7"), (413, "8")]
        {
            let reply = Reply::new(StatusCode::from_u16(status).expect("a status"), "50 % off\n");
            for content_type in ["application/grpc", "application/grpc+proto"] {
                let (head, body) = reply.message(&request(content_type), b"id", true);
                assert_eq!((head.status, head.body, body.len()), (200, BodyLength::Empty, 0));
                assert_eq!(value(&head, Name::GrpcStatus).as_deref(), Some(code), "{status}");
                assert_eq!(value(&head, Name::GrpcMessage).as_deref(), Some("50 %25 off%0A"));
                assert_eq!(value(&head, Name::ContentType).as_deref(), Some("application/grpc"));
            }
        }
    }

    #[test]
    fn others_get_a_line_of_text() {
        let reply = Reply::new(StatusCode::NOT_FOUND, "no service has this host");
        for content_type in
            ["application/grpc-web", "application/grpc-web+proto", "application/connect+proto", "text/plain"]
        {
            let (head, body) = reply.message(&request(content_type), b"id", true);
            assert_eq!((head.status, &body[..]), (404, &b"no service has this host\n"[..]), "{content_type}");
            assert_eq!(value(&head, Name::GrpcStatus), None);
        }
    }
}
