//! Requests that are refused before anything is decided by them, as parsers differ about what they mean.

use http::{HeaderMap, StatusCode, Version, header};

use super::settings::Settings;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct RawRequest<'a> {
    /// The protocol.
    pub version: Version,
    /// The parsed headers.
    pub headers: &'a HeaderMap,
    /// The target as it stands in the request line, or `:path`.
    pub target: &'a [u8],
    /// The head as it came, from the request line to the empty line; HTTP/1 only.
    pub head: Option<&'a [u8]>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// RFC 9112 §2.2 lets a bare LF pass; others don't, and that is how requests are smuggled.
    #[error("a line of the request head ends in a bare LF")]
    BareLineFeed,
    /// RFC 9112 §6.1: only `chunked` is implemented here.
    #[error("a transfer coding other than chunked")]
    TransferCoding,
    /// RFC 9112 §3.2.
    #[error("HTTP/1.1 without Host")]
    MissingHost,
    /// RFC 9112 §3.2.
    #[error("the host is not valid")]
    InvalidHost,
    /// RFC 3986 §2: neither whitespace nor a control character is allowed in a target. Those of HTTP/1.1 are refused by the
    /// connection, which sees them before pingora escapes them.
    #[error("the request target has whitespace or a control character")]
    InvalidTarget,
    /// RFC 9110 §8.6.
    #[error("the content length is not a number")]
    InvalidLength,
    /// RFC 6585 §5.
    #[error("the request header is too large")]
    HeaderTooLarge,
    /// RFC 9110 §15.5.14.
    #[error("the request body is too large")]
    BodyTooLarge,
}

impl Refusal {
    /// How the refusal is answered.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn check(request: &RawRequest<'_>, settings: &Settings) -> Result<(), Refusal> {
    check_size(request, settings)?;
    if request.target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(Refusal::InvalidTarget);
    }
    if let Some(head) = request.head {
        check_head(head)?;
        check_transfer_coding(request.headers)?;
    }
    check_host(request)?;
    check_body(request.headers, settings)
}

fn check_size(request: &RawRequest<'_>, settings: &Settings) -> Result<(), Refusal> {
    // RFC 9113 §6.5.2 counts 32 bytes for each field besides name and value.
    let sum = || request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let size = request.head.map_or_else(sum, <[u8]>::len);
    let too_large = size > settings.max_header_bytes as usize || request.headers.len() > settings.max_headers;
    if too_large { Err(Refusal::HeaderTooLarge) } else { Ok(()) }
}

fn check_head(head: &[u8]) -> Result<(), Refusal> {
    let mut before = 0;
    for &byte in head {
        if byte == b'\n' && before != b'\r' {
            return Err(Refusal::BareLineFeed);
        }
        before = byte;
    }
    Ok(())
}

fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::TransferCoding),
    }
}

/// Whether the host is a name is seen when it is looked up; here, that there is one and no list of them.
fn check_host(request: &RawRequest<'_>) -> Result<(), Refusal> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::HTTP_11 => Err(Refusal::MissingHost),
        (Some(_), Some(_)) => Err(Refusal::InvalidHost),
        _ => Ok(()),
    }
}

fn check_body(headers: &HeaderMap, settings: &Settings) -> Result<(), Refusal> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let digits = length.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    match (length, settings.max_request_body) {
        (None, _) => Err(Refusal::InvalidLength),
        (Some(length), Some(limit)) if length > limit => Err(Refusal::BodyTooLarge),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn verdict(head: &str, fields: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        let headers = headers(fields);
        let head = Some(head.as_bytes());
        let request = RawRequest { version: Version::HTTP_11, headers: &headers, target: b"/", head };
        check(&request, &Settings::default())
    }

    #[test]
    fn what_parsers_differ_about_is_refused() {
        let host = ("host", "shop.test");
        for (head, fields, refusal) in [
            ("GET / HTTP/1.1\r\nHost: shop.test\nA: b\r\n\r\n", vec![host], Refusal::BareLineFeed),
            ("GET / HTTP/1.1\nHost: shop.test\r\n\r\n", vec![host], Refusal::BareLineFeed),
            ("GET / HTTP/1.1\r\n\r\n", vec![], Refusal::MissingHost),
            ("", vec![host, ("transfer-encoding", "gzip, chunked")], Refusal::TransferCoding),
            ("", vec![host, ("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], Refusal::TransferCoding),
            ("", vec![host, ("content-length", "ten")], Refusal::InvalidLength),
            ("", vec![host, host], Refusal::InvalidHost),
        ] {
            assert_eq!(verdict(head, &fields), Err(refusal), "{head:?} {fields:?}");
        }
    }

    #[test]
    fn an_ordinary_request_passes() {
        let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(verdict(head, &[("host", "shop.test"), ("transfer-encoding", "Chunked")]), Ok(()));
    }

    #[test]
    fn too_many_or_too_long_headers_are_431() {
        let long = "a".repeat(61 * 1024);
        let refusal = verdict(&long, &[("host", "shop.test")]).expect_err("too long");
        assert_eq!(refusal.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let many = vec![("a", "b"); 101];
        assert_eq!(verdict("", &many), Err(Refusal::HeaderTooLarge));
    }

    #[test]
    fn a_control_character_in_the_target_is_refused() {
        let headers = headers(&[("host", "shop.test")]);
        let request = RawRequest { version: Version::HTTP_2, headers: &headers, target: b"/a\x7f", head: None };
        assert_eq!(check(&request, &Settings::default()), Err(Refusal::InvalidTarget));
    }

    #[test]
    fn a_body_over_the_limit_is_413() {
        let headers = headers(&[("host", "shop.test"), ("content-length", "11")]);
        let request = RawRequest { version: Version::HTTP_2, headers: &headers, target: b"/", head: None };
        let settings = Settings { max_request_body: Some(10), ..Settings::default() };
        assert_eq!(check(&request, &settings), Err(Refusal::BodyTooLarge));
    }
}
