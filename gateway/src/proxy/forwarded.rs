//! Who the client is: `X-Forwarded-*`, `Forwarded` and `X-Request-Id`, and whose word on them is believed.

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_http::RequestHeader;

use super::settings::Settings;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// How a request reached us.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The authority as the client sent it.
    pub authority: &'a str,
    /// Whether the client is a proxy whose word is believed.
    pub is_trusted: bool,
}

/// Whether the word of a peer is believed.
pub fn is_trusted(settings: &Settings, peer: IpAddr) -> bool {
    settings.trusted_proxies.iter().any(|range| range.contains(&peer.to_canonical()))
}

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. What an untrusted client said about itself is removed.
///
/// # Errors
/// `InvalidHTTPHeader` when the authority is no header value; it was one when it came.
pub fn set_origin(request: &mut RequestHeader, origin: &Origin<'_>) -> pingora_error::Result<()> {
    if !origin.is_trusted {
        remove_claims(request);
    }
    let chain = forwarded_for(&request.headers, origin.client);
    request.insert_header(FORWARDED_FOR, chain)?;
    if !request.headers.contains_key(FORWARDED_PROTO) {
        let scheme = if origin.is_tls { "https" } else { "http" };
        request.insert_header(FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
    }
    if !request.headers.contains_key(FORWARDED_HOST) {
        request.insert_header(FORWARDED_HOST, origin.authority)?;
    }
    Ok(())
}

/// Removes every header by which a proxy speaks about its client.
fn remove_claims(request: &mut RequestHeader) {
    let is_claim = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
    };
    let claims: smallvec::SmallVec<[HeaderName; 4]> = request.headers.keys().filter(is_claim).cloned().collect();
    for name in &claims {
        request.remove_header(name);
    }
}

/// The chain of proxies so far, with the client's address at its end.
fn forwarded_for(headers: &HeaderMap, client: IpAddr) -> String {
    let mut chain = String::with_capacity(48);
    for before in headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        chain.push_str(before);
        chain.push_str(", ");
    }
    // Writing to a String does not fail.
    let _ = write!(chain, "{}", client.to_canonical());
    chain
}

/// The id of a request: the one it came with, if that is believed and well formed, or a new one.
pub fn request_id(headers: &HeaderMap, believed: bool) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|_| believed);
    given.filter(|id| is_request_id(id.as_bytes())).cloned().unwrap_or_else(new_request_id)
}

fn is_request_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(allowed)
}

/// A random UUID (RFC 9562 §5.4).
fn new_request_id() -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (digit, at) in places.enumerate() {
        text[at] = HEX[(random >> (124 - 4 * digit)) as usize & 0xf];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("valid");
        for (name, value) in fields {
            request.append_header(*name, *value).expect("valid");
        }
        request
    }

    fn set(fields: &[(&'static str, &str)], is_trusted: bool, is_tls: bool) -> RequestHeader {
        let mut request = request(fields);
        let client = "192.0.2.9".parse().expect("an address");
        set_origin(&mut request, &Origin { client, is_tls, authority: "shop.test:8080", is_trusted }).expect("valid");
        request
    }

    const CLAIMS: [(&str, &str); 7] = [
        ("X-Forwarded-For", "203.0.113.1"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "bank.test"),
        ("X-Forwarded-Port", "443"),
        ("Forwarded", "for=203.0.113.1"),
        ("X-Real-Ip", "203.0.113.1"),
    ];

    #[test]
    fn what_an_untrusted_client_claims_is_replaced() {
        let request = set(&CLAIMS, false, false);
        assert_eq!(request.headers["x-forwarded-for"], "192.0.2.9");
        assert_eq!(request.headers["x-forwarded-proto"], "http");
        assert_eq!(request.headers["x-forwarded-host"], "shop.test:8080");
        assert_eq!(request.headers.len(), 3, "{:?}", request.headers);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_its_address_appended() {
        let request = set(&CLAIMS, true, false);
        assert_eq!(request.headers["x-forwarded-for"], "203.0.113.1, 10.0.0.1, 192.0.2.9");
        assert_eq!(request.headers["x-forwarded-proto"], "https");
        assert_eq!(request.headers["x-forwarded-host"], "bank.test");
        assert!(request.headers.contains_key("forwarded"));
    }

    #[test]
    fn a_request_over_tls_says_https() {
        assert_eq!(set(&[], false, true).headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_request_id_is_kept_if_believed_and_well_formed() {
        let long = "a".repeat(129);
        for (given, believed, kept) in
            [("abc-1", true, true), ("abc-1", false, false), ("a b", true, false), (long.as_str(), true, false)]
        {
            let headers = request(&[("x-request-id", given)]);
            assert_eq!(request_id(&headers.headers, believed) == given, kept, "{given}");
        }
    }

    #[test]
    fn a_new_request_id_is_a_random_uuid() {
        let (one, other) = (new_request_id(), new_request_id());
        assert_ne!(one, other);
        let text = one.to_str().expect("text");
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!("89ab".contains(&text[19..20]), "{text}");
    }
}
