//! Changes to a request before an endpoint sees it.

use smallvec::SmallVec;

use crate::message::{Authority, Field, Fields, Name, RequestHead};
use crate::route::Matched;

use super::forwarded::{self, Origin};
use super::probe;
use super::settings::UnderscoreHeaders;

/// The beginning of the fields by which proxies speak about clients.
const FORWARDED: &[u8] = b"x-forwarded-";

/// Sets what the gateway knows of a request. Once a request, whatever number of endpoints it is tried at.
pub(super) fn set_origin(
    fields: &mut Fields,
    origin: &Origin<'_>,
    request_id: &[u8],
    underscore_headers: UnderscoreHeaders,
) {
    fields.retain(|field| !field.name.contains(&b'_') || may_pass(field, underscore_headers));
    forwarded::set_origin(fields, origin);
    fields.set(Name::RequestId, request_id);
}

/// Returns `true` if a field with `_` in its name may reach the endpoint.
fn may_pass(field: Field<'_>, setting: UnderscoreHeaders) -> bool {
    let read_as: SmallVec<[u8; 64]> = field.name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    let is_of_gateway = Name::of(&read_as) != Name::Other
        || read_as.get(..FORWARDED.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(FORWARDED));
    setting == UnderscoreHeaders::Safe && !is_of_gateway
}

/// Sets what the route says, and returns the authority if it replaces that. What `Connection` named is gone already, so it
/// cannot take away what is set here.
pub(super) fn apply_route(head: &mut RequestHead, matched: &Matched) -> Option<Authority> {
    for (name, value) in matched.set_headers() {
        // A field that a route sets is that field alone for backends that read `_` as `-`, too.
        let is_twin = |field: &Field<'_>| {
            let read = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            field.name.contains(&b'_') && field.name.iter().map(read).eq(name.as_str().bytes())
        };
        head.fields.retain(|field| !is_twin(&field));
        head.fields.set_named(name.as_str(), value.as_bytes());
    }
    probe::insert_hash(&mut head.fields, matched);
    matched.rewrite_host().map(|host| std::mem::replace(&mut head.authority, host.as_bytes().into()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::trust::Chain;
    use super::*;
    use crate::message::Version;

    /// The names that an endpoint gets of a request with this field, besides those that the gateway sets.
    fn passed(name: &str, setting: UnderscoreHeaders) -> Vec<String> {
        let mut head = RequestHead::new(Version::Http11, http::Method::GET, b"shop.test", b"/");
        head.fields.append(name.as_bytes(), b"of the client");
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (is_tls, is_trusted, chain) = (false, false, Chain::Replace);
        let origin = Origin { peer, is_tls, authority: b"shop.test", is_trusted, chain };
        set_origin(&mut head.fields, &origin, b"id", setting);
        let of_client = head.fields.iter().filter(|field| field.value == b"of the client");
        of_client.map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    #[test]
    fn fields_with_underscores_pass_unless_they_read_like_one_that_the_gateway_sets_or_all_are_dropped() {
        for (name, is_safe) in [
            ("My_Header", true),
            ("x_custom_id", true),
            ("X_Forwarded_For", false),
            ("x-forwarded_proto", false),
            ("X_FORWARDED_ANYTHING", false),
            ("x_request_id", false),
            ("Content_Length", false),
            ("transfer_encoding", false),
            ("x_real_ip", false),
        ] {
            assert_eq!(!passed(name, UnderscoreHeaders::Safe).is_empty(), is_safe, "{name}");
            assert!(passed(name, UnderscoreHeaders::Drop).is_empty(), "{name}");
        }
        assert_eq!(passed("My-Header", UnderscoreHeaders::Drop), ["My-Header"]);
    }
}
