//! Heads, to bytes.

use http::{Method, StatusCode};

use super::body_writer::{BodyWriter, push_decimal, push_field};
use super::output::LARGE;
use crate::message::{BodyLength, Fields, Name, RequestHead, ResponseHead, Version};

/// Room for what a head has besides its fields.
const LINE: usize = 128;

/// Whom a response goes to, and what becomes of the connection after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// The version of the request.
    pub(super) version: Version,
    /// Whether the request's method is HEAD.
    pub(super) to_head: bool,
    /// Whether the connection persists.
    pub(super) keep_alive: bool,
}

/// Writes a request head, and returns how its body is written.
pub(super) fn request(buffer: &mut Vec<u8>, head: &RequestHead) -> BodyWriter {
    let line = LINE + head.target.len() + head.authority.len();
    buffer.reserve(line + size(&head.fields) + small_body(head.body));
    buffer.extend_from_slice(head.method.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(&head.target);
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    push_field(buffer, b"host", &head.authority);
    push_fields(buffer, &head.fields, |name| !matches!(name, Name::Host | Name::Te | Name::Upgrade));
    let connection: &[u8] = match (head.takes_trailers, &head.upgrade) {
        (false, None) => b"",
        (true, None) => b"te: trailers\r\nconnection: te\r\n",
        (false, Some(_)) => b"connection: upgrade\r\n",
        (true, Some(_)) => b"te: trailers\r\nconnection: te, upgrade\r\n",
    };
    buffer.extend_from_slice(connection);
    if let Some(protocol) = &head.upgrade {
        push_field(buffer, b"upgrade", protocol);
    }
    let writer = match head.body {
        BodyLength::Empty | BodyLength::Exact(0) => {
            // RFC 9110 §8.6: methods that usually have a body say that there is none.
            if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
                push_length(buffer, 0);
            }
            BodyWriter::Done
        }
        BodyLength::Exact(length) => {
            push_length(buffer, length);
            BodyWriter::Length(length)
        }
        BodyLength::Unknown => {
            buffer.extend_from_slice(b"transfer-encoding: chunked\r\n");
            BodyWriter::Chunked
        }
    };
    buffer.extend_from_slice(b"\r\n");
    writer
}

/// Writes an interim response.
pub(super) fn interim(buffer: &mut Vec<u8>, head: &ResponseHead) {
    push_status(buffer, head.status);
    push_fields(buffer, &head.fields, |name| !matches!(name, Name::ContentLength | Name::Upgrade));
    buffer.extend_from_slice(b"\r\n");
}

/// Writes a final response head, and returns how its body is written.
pub(super) fn response(buffer: &mut Vec<u8>, head: &ResponseHead, reply: Reply) -> BodyWriter {
    buffer.reserve(LINE + size(&head.fields) + small_body(head.body));
    push_status(buffer, head.status);
    let is_bodiless = ResponseHead::is_bodiless(head.status);
    push_fields(buffer, &head.fields, |_| true);
    let writer = match head.body {
        _ if is_bodiless || reply.to_head => {
            // Of the representation, not of this message.
            if let Some(length) = head.fields.get(Name::ContentLength).filter(|_| !is_bodiless || head.status == 304) {
                push_field(buffer, b"content-length", length);
            }
            BodyWriter::Done
        }
        BodyLength::Empty | BodyLength::Exact(0) => {
            push_length(buffer, 0);
            BodyWriter::Done
        }
        BodyLength::Exact(length) => {
            push_length(buffer, length);
            BodyWriter::Length(length)
        }
        BodyLength::Unknown if reply.version == Version::Http10 => BodyWriter::UntilClose,
        BodyLength::Unknown => {
            buffer.extend_from_slice(b"transfer-encoding: chunked\r\n");
            BodyWriter::Chunked
        }
    };
    let persists = reply.keep_alive && writer != BodyWriter::UntilClose;
    let connection: &[u8] = match (head.status, head.fields.contains(Name::Upgrade), persists) {
        (101, ..) => b"connection: upgrade\r\n\r\n",
        (_, true, true) => b"connection: upgrade, keep-alive\r\n\r\n",
        (_, true, false) => b"connection: upgrade, close\r\n\r\n",
        (_, false, true) => b"connection: keep-alive\r\n\r\n",
        (_, false, false) => b"connection: close\r\n\r\n",
    };
    buffer.extend_from_slice(connection);
    writer
}

/// Returns the bytes of a body that is copied behind its head.
fn small_body(body: BodyLength) -> usize {
    match body {
        BodyLength::Exact(length) => usize::try_from(length).ok().filter(|length| *length < LARGE).unwrap_or(0),
        BodyLength::Empty | BodyLength::Unknown => 0,
    }
}

/// Returns the bytes that the fields take.
fn size(fields: &Fields) -> usize {
    fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum()
}

fn push_status(buffer: &mut Vec<u8>, status: u16) {
    buffer.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(buffer, u64::from(status));
    buffer.push(b' ');
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    buffer.extend_from_slice(reason.unwrap_or_default().as_bytes());
    buffer.extend_from_slice(b"\r\n");
}

fn push_length(buffer: &mut Vec<u8>, length: u64) {
    buffer.extend_from_slice(b"content-length: ");
    push_decimal(buffer, length);
    buffer.extend_from_slice(b"\r\n");
}

/// Writes the fields but those that are written from what they mean.
fn push_fields(buffer: &mut Vec<u8>, fields: &Fields, is_written: impl Fn(Name) -> bool) {
    for field in fields.iter() {
        let of_connection = field.known.is_hop_by_hop() && field.known != Name::Upgrade;
        if field.known != Name::ContentLength && !of_connection && is_written(field.known) {
            push_field(buffer, field.name, field.value);
        }
    }
}

#[cfg(test)]
mod tests;
