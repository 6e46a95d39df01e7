//! Changes to a request before an endpoint sees it.

use smallvec::SmallVec;

use crate::message::{Field, Name, RequestHead};
use crate::route::Matched;

use super::forwarded::{self, Origin};
use super::probe;
use super::settings::UnderscoreHeaders;

/// The beginning of the fields by which proxies speak about clients.
const FORWARDED: &[u8] = b"x-forwarded-";

/// Sets what the gateway knows of a request. Once a request, whatever number of endpoints it is tried at.
pub(super) fn set_origin(
    head: &mut RequestHead,
    origin: &Origin<'_>,
    request_id: &[u8],
    underscore_headers: UnderscoreHeaders,
) {
    head.fields.retain(|field| !field.name.contains(&b'_') || may_pass(field, underscore_headers));
    forwarded::set_origin(&mut head.fields, origin);
    head.fields.set(Name::RequestId, request_id);
}

/// Returns `true` if a field with `_` in its name may reach the endpoint.
fn may_pass(field: Field<'_>, setting: UnderscoreHeaders) -> bool {
    let read_as: SmallVec<[u8; 64]> = field.name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    let is_of_gateway = Name::of(&read_as) != Name::Other
        || read_as.get(..FORWARDED.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(FORWARDED));
    setting == UnderscoreHeaders::Safe && !is_of_gateway
}

/// Sets what the route says. What `Connection` named is gone already, so it cannot take away what is set here.
pub(super) fn apply_route(head: &mut RequestHead, matched: &Matched) {
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
    if let Some(host) = matched.rewrite_host() {
        head.authority = host.as_bytes().into();
    }
}
