//! Limits of a request's head, and what a request needs before anything is decided by it.
//!
//! What is malformed in its protocol's own terms is refused where heads are parsed (`http1`, `http2`).

use http::StatusCode;

use crate::message::{BodyLength, Name, RequestHead, Version};

use super::settings::Settings;

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// RFC 9112 §3.2, RFC 9113 §8.3.1.
    #[error("the request names no host")]
    MissingHost,
    /// RFC 9110 §7.2.
    #[error("the host is not valid")]
    InvalidHost,
    /// RFC 6585 §5.
    #[error("the request header is too large")]
    HeaderTooLarge,
    /// RFC 9110 §15.5.14.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// RFC 9110 §9.3.6: a gateway is no tunnel.
    #[error("CONNECT is not served")]
    Connect,
}

impl RejectReason {
    /// Returns the status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::MissingHost | Self::InvalidHost => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request.
///
/// # Errors
/// The first [`RejectReason`] that applies.
pub fn check(head: &RequestHead, settings: &Settings) -> Result<(), RejectReason> {
    let is_large = head.fields.list_size() > settings.max_header_bytes as usize;
    if is_large || head.fields.len() > settings.max_headers {
        return Err(RejectReason::HeaderTooLarge);
    }
    if head.authority.is_empty() && head.version != Version::Http10 {
        return Err(RejectReason::MissingHost);
    }
    // The protocol's own code leaves a `Host` here that is not the authority (RFC 9113 §8.3.1).
    if head.fields.contains(Name::Host) {
        return Err(RejectReason::InvalidHost);
    }
    if head.method == http::Method::CONNECT && head.upgrade.is_none() {
        return Err(RejectReason::Connect);
    }
    match (head.body, settings.max_request_body) {
        (BodyLength::Exact(length), Some(limit)) if length > limit => Err(RejectReason::BodyTooLarge),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Authority;

    fn head() -> RequestHead {
        RequestHead::new(Version::Http11, http::Method::GET, b"shop.test", b"/")
    }

    #[test]
    fn an_ordinary_request_passes() {
        assert_eq!(check(&head(), &Settings::default()), Ok(()));
    }

    #[test]
    fn too_many_or_too_long_fields_are_431() {
        let mut many = head();
        (0..101).for_each(|_| many.fields.append(b"a", b"b"));
        let mut long = head();
        long.fields.append(b"a", &vec![b'b'; 61 * 1024]);
        for head in [many, long] {
            let reason = check(&head, &Settings::default()).expect_err("too large");
            assert_eq!(reason.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
    }

    #[test]
    fn a_request_without_a_host_passes_in_http_1_0_alone() {
        let nameless = |version| RequestHead { version, authority: Authority::new(), ..head() };
        assert_eq!(check(&nameless(Version::Http10), &Settings::default()), Ok(()));
        for version in [Version::Http11, Version::Http2] {
            assert_eq!(check(&nameless(version), &Settings::default()), Err(RejectReason::MissingHost));
        }
    }

    #[test]
    fn a_host_beside_another_authority_is_refused() {
        let mut two = head();
        two.fields.append(b"host", b"bank.test");
        assert_eq!(check(&two, &Settings::default()), Err(RejectReason::InvalidHost));
    }

    #[test]
    fn a_body_over_the_limit_is_413() {
        let settings = Settings { max_request_body: Some(10), ..Settings::default() };
        let sized = |length| RequestHead { body: BodyLength::Exact(length), ..head() };
        assert_eq!(check(&sized(10), &settings), Ok(()));
        assert_eq!(check(&sized(11), &settings), Err(RejectReason::BodyTooLarge));
    }
}
