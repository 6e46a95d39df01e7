//! Fields that may come after a body.

use crate::message::Name;

/// Names, besides those of [`Name`], whose fields have an effect before the body is read: on framing, routing, caching,
/// authentication, or on how the body is understood (RFC 9110 §6.5.1). A recipient that merges them into the head would
/// be deceived.
const FORBIDDEN: [&str; 36] = [
    "accept-encoding",
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "range",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-port",
    "x-http-method-override",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-original-url",
    "x-rewrite-url",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Returns `true` if a field of this name may be forwarded as a trailer.
pub(crate) fn is_allowed(known: Name, name: &[u8]) -> bool {
    match known {
        Name::GrpcStatus | Name::GrpcMessage | Name::Date | Name::Server | Name::AltSvc | Name::RequestId => true,
        Name::Other => !FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_says_nothing_that_should_have_been_known_before() {
        for (name, is_forwarded) in [
            ("grpc-status", true),
            ("x-checksum", true),
            ("Server-Timing", true),
            ("Content-Length", false),
            ("transfer-encoding", false),
            ("HOST", false),
            ("Trailer", false),
            ("te", false),
            ("Authorization", false),
            ("cookie", false),
            ("Set-Cookie", false),
            ("content-type", false),
            ("X-Forwarded-For", false),
            ("connection", false),
        ] {
            assert_eq!(is_allowed(Name::of(name.as_bytes()), name.as_bytes()), is_forwarded, "{name}");
        }
    }
}
