//! Fields between messages and the header maps that `h2` takes and yields.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::{Fields, Name};

/// Copies fields for a message, without those that HTTP/2 has no place for (RFC 9113 §8.2.2); `Content-Length` is kept.
///
/// Each value has memory of its own: the table of the HPACK encoder keeps some of them (RFC 7541 §2.3.2), and would keep a
/// whole head with each.
pub(super) fn to_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 2);
    for field in fields.iter() {
        if field.known.is_hop_by_hop() || matches!(field.known, Name::Te | Name::Host) {
            continue;
        }
        let name = field.known.to_header_name().map_or_else(|| HeaderName::from_bytes(field.name), Ok);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            map.append(name, value);
        }
    }
    map
}

/// Copies trailers for a message. Fields that frame or route it have no effect there, and are dropped (RFC 9110 §6.5.1).
pub(super) fn trailers_to_map(fields: &Fields) -> HeaderMap {
    let mut map = to_map(fields);
    map.remove(http::header::CONTENT_LENGTH);
    map
}

/// Copies trailers that were received, with the same exceptions.
pub(super) fn of_trailers(map: &HeaderMap) -> Fields {
    let mut fields = Fields::from_map(map);
    fields.retain(|field| !field.known.is_hop_by_hop() && !matches!(field.known, Name::ContentLength | Name::Host));
    fields
}

/// Reads the length that a message declares. `h2` has checked that it is a number, and the same one if there are several.
pub(super) fn content_length(map: &HeaderMap) -> Option<u64> {
    map.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
