//! Refusals of request heads, and the responses that say so.

use crate::connection::Closed;

/// Fault of a request head; the connection ends with the response to it, as the request's extent is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not `method SP target SP version`, or a control character among them (RFC 9112 §3).
    RequestLine,
    /// RFC 9112 §2.2 lets a bare LF pass; others don't, and that is how requests are smuggled.
    BareLineFeed,
    /// Not `name: value`, or folded (RFC 9112 §5.1, §5.2).
    Field,
    /// None of the forms of RFC 9112 §3.2, or one that is not for this method.
    Target,
    /// RFC 9112 §3.2.
    MissingHost,
    /// Two of them, a list, or not a host; or another one than the target names.
    Host,
    /// RFC 9112 §6.1: only `chunked` is implemented here, and not for HTTP/1.0.
    TransferCoding,
    /// RFC 9110 §8.6.
    ContentLength,
    /// RFC 9110 §9.3.6: tunnels are not offered.
    Connect,
    /// RFC 9110 §15.6.6.
    Version,
    /// RFC 6585 §5.
    TooManyFields,
    /// RFC 6585 §5.
    TooLarge,
    /// RFC 9110 §15.5.9.
    TooSlow,
}

impl Fault {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Connect => 405,
            Self::TooSlow => 408,
            Self::TooManyFields | Self::TooLarge => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The fault in words, for logs.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is not valid",
            Self::BareLineFeed => "a line of the request head ends in a bare LF",
            Self::Field => "a header field is not valid",
            Self::Target => "the request target is not valid",
            Self::MissingHost => "HTTP/1.1 without Host",
            Self::Host => "the host is not valid",
            Self::TransferCoding => "a transfer coding other than chunked",
            Self::ContentLength => "the content length is not a number",
            Self::Connect => "CONNECT is not offered",
            Self::Version => "the protocol version is not supported",
            Self::TooManyFields => "too many header fields",
            Self::TooLarge => "the request header is too large",
            Self::TooSlow => "the request header took too long",
        }
    }

    /// The counter of connections closed against the client's wish, for faults that have one.
    pub(super) const fn closed(self) -> Option<Closed> {
        match self {
            Self::RequestLine => Some(Closed::RequestLine),
            Self::TooManyFields | Self::TooLarge => Some(Closed::HeaderTooLarge),
            Self::TooSlow => Some(Closed::HeaderTimeout),
            _ => None,
        }
    }

    /// The refusal as it goes over the wire.
    pub(super) const fn response(self) -> &'static [u8] {
        match self.status() {
            405 => b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            408 => b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            431 => b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            505 => b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            _ => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        }
    }
}
