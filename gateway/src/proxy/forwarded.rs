//! The fields about the client: `X-Forwarded-*`, `Forwarded` and `X-Request-Id`.

use std::fmt::{self, Write};
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::message::{Fields, Name};

use super::trust::Chain;

/// The longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// A request id: of the client, if it is believed and well formed, or a new one.
pub(super) type RequestId = SmallVec<[u8; 36]>;

/// The way by which a request reached the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The peer's address, or what the PROXY protocol says it is.
    pub peer: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The authority as the client sent it.
    pub authority: &'a [u8],
    /// `true` for a peer that is a proxy whose word is believed.
    pub is_trusted: bool,
    /// The treatment of its `X-Forwarded-For`.
    pub chain: Chain,
}

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. What an untrusted client said about itself is removed.
pub fn set_origin(fields: &mut Fields, origin: &Origin<'_>) {
    if !origin.is_trusted {
        remove_claims(fields, origin.chain);
    }
    if origin.chain != Chain::Keep {
        let chain = forwarded_for(fields, origin.peer);
        fields.set(Name::XForwardedFor, &chain);
    }
    if !fields.contains(Name::XForwardedProto) {
        fields.append_known(Name::XForwardedProto, if origin.is_tls { b"https" } else { b"http" });
    }
    if !fields.contains(Name::XForwardedHost) {
        fields.append_known(Name::XForwardedHost, origin.authority);
    }
}

/// Removes every field by which a proxy speaks about its client; `X-Forwarded-For` only if it is replaced.
fn remove_claims(fields: &mut Fields, chain: Chain) {
    const PREFIX: &[u8] = b"x-forwarded-";
    fields.retain(|field| {
        if field.known == Name::XForwardedFor {
            return chain != Chain::Replace;
        }
        let is_forwarded = field.name.get(..PREFIX.len()).is_some_and(|name| name.eq_ignore_ascii_case(PREFIX));
        !is_forwarded && !matches!(field.known, Name::Forwarded | Name::RealIp)
    });
}

/// Returns the chain of proxies so far, with the peer's address at its end.
fn forwarded_for(fields: &Fields, peer: IpAddr) -> SmallVec<[u8; 64]> {
    let mut chain = SmallVec::new();
    for before in fields.get_all(Name::XForwardedFor) {
        chain.extend_from_slice(before);
        chain.extend_from_slice(b", ");
    }
    let mut text = IpText::default();
    // The text of no address is longer than the room for it.
    let _ = write!(text, "{}", peer.to_canonical());
    chain.extend_from_slice(text.as_bytes());
    chain
}

/// The longest text of an address: an IPv6 address with an IPv4 address in it.
const LONGEST_ADDRESS: usize = 45;

/// The text of an address, without an allocation.
struct IpText {
    text: [u8; LONGEST_ADDRESS],
    length: usize,
}

impl Default for IpText {
    fn default() -> Self {
        Self { text: [0; LONGEST_ADDRESS], length: 0 }
    }
}

impl IpText {
    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl Write for IpText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..self.length + part.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.length += part.len();
        Ok(())
    }
}

/// Returns the id of a request.
pub(super) fn request_id(fields: &Fields, is_believed: bool) -> RequestId {
    let given = fields.get(Name::RequestId).filter(|id| is_believed && is_request_id(id));
    given.map_or_else(new_request_id, RequestId::from_slice)
}

fn is_request_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(allowed)
}

/// Returns a random UUID (RFC 9562 §5.4).
fn new_request_id() -> RequestId {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (digit, at) in places.enumerate() {
        text[at] = HEX[(random >> (124 - 4 * digit)) as usize & 0xf];
    }
    RequestId::from_slice(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.append(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn set(list: &[(&str, &str)], is_trusted: bool, is_tls: bool) -> Fields {
        set_with(list, is_trusted, if is_trusted { Chain::Append } else { Chain::Replace }, is_tls)
    }

    fn set_with(list: &[(&str, &str)], is_trusted: bool, chain: Chain, is_tls: bool) -> Fields {
        let mut fields = fields(list);
        let peer = "192.0.2.9".parse().expect("an address");
        set_origin(&mut fields, &Origin { peer, is_tls, authority: b"shop.test:8080", is_trusted, chain });
        fields
    }

    fn value(fields: &Fields, name: Name) -> String {
        String::from_utf8_lossy(fields.get(name).unwrap_or_default()).into_owned()
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
        let fields = set(&CLAIMS, false, false);
        assert_eq!(value(&fields, Name::XForwardedFor), "192.0.2.9");
        assert_eq!(value(&fields, Name::XForwardedProto), "http");
        assert_eq!(value(&fields, Name::XForwardedHost), "shop.test:8080");
        assert_eq!(fields.len(), 3, "{fields:?}");
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_its_address_appended() {
        let fields = set(&CLAIMS, true, false);
        assert_eq!(value(&fields, Name::XForwardedFor), "203.0.113.1, 10.0.0.1, 192.0.2.9");
        assert_eq!(value(&fields, Name::XForwardedProto), "https");
        assert_eq!(value(&fields, Name::XForwardedHost), "bank.test");
        assert!(fields.contains(Name::Forwarded));
    }

    #[test]
    fn an_untrusted_chain_that_is_appended_to_is_all_that_is_kept_of_the_claims() {
        let fields = set_with(&CLAIMS, false, Chain::Append, false);
        assert_eq!(value(&fields, Name::XForwardedFor), "203.0.113.1, 10.0.0.1, 192.0.2.9");
        assert_eq!(value(&fields, Name::XForwardedProto), "http");
        assert_eq!(value(&fields, Name::XForwardedHost), "shop.test:8080");
        assert_eq!(fields.len(), 3, "{fields:?}");
    }

    #[test]
    fn a_chain_that_is_kept_is_passed_on_as_it_came() {
        let fields = set_with(&CLAIMS, true, Chain::Keep, false);
        let chain: Vec<_> = fields.get_all(Name::XForwardedFor).collect();
        assert_eq!(chain, [&b"203.0.113.1"[..], b"10.0.0.1"]);
        assert_eq!(value(&fields, Name::XForwardedProto), "https");
        assert!(!set_with(&[], true, Chain::Keep, false).contains(Name::XForwardedFor));
    }

    #[test]
    fn a_request_over_tls_says_https() {
        assert_eq!(value(&set(&[], false, true), Name::XForwardedProto), "https");
    }

    #[test]
    fn a_request_id_is_kept_if_believed_and_well_formed() {
        let long = "a".repeat(129);
        for (given, believed, kept) in
            [("abc-1", true, true), ("abc-1", false, false), ("a b", true, false), (long.as_str(), true, false)]
        {
            let fields = fields(&[("x-request-id", given)]);
            assert_eq!(request_id(&fields, believed).as_slice() == given.as_bytes(), kept, "{given}");
        }
    }

    #[test]
    fn a_new_request_id_is_a_random_uuid() {
        let (one, other) = (new_request_id(), new_request_id());
        assert_ne!(one, other);
        let text = std::str::from_utf8(&one).expect("text");
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!("89ab".contains(&text[19..20]), "{text}");
    }
}
