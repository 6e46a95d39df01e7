//! Changes to a response before the client sees it.

use smallvec::SmallVec;

use crate::message::{Fields, Name, ResponseHead};

/// The most names that are taken from `Connection`.
const MAX_NAMED: usize = 8;

/// Removes the fields that speak about the connection to the endpoint (RFC 9110 §7.6.1). A 101 keeps its handshake.
pub(super) fn remove_hop_by_hop(head: &mut ResponseHead) {
    if head.status == 101 || !head.fields.iter().any(|field| field.known.is_hop_by_hop()) {
        return;
    }
    let named = named_by_connection(&head.fields);
    head.fields.retain(|field| {
        let is_named = || named.iter().any(|name| field.name.eq_ignore_ascii_case(name));
        !field.known.is_hop_by_hop() && (is_essential(field.known) || !is_named())
    });
}

fn named_by_connection(fields: &Fields) -> SmallVec<[Vec<u8>; 2]> {
    let values = fields.get_all(Name::Connection);
    let tokens = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    tokens.filter(|token| !token.is_empty()).take(MAX_NAMED).map(<[u8]>::to_vec).collect()
}

/// Returns `true` for fields without which a response is another one.
fn is_essential(name: Name) -> bool {
    matches!(name, Name::ContentLength | Name::ContentType | Name::Trailer)
}

#[cfg(test)]
mod tests {
    use crate::message::BodyLength;

    use super::*;

    fn names(status: u16, fields: &[(&str, &str)]) -> Vec<String> {
        let mut head = ResponseHead::new(status, BodyLength::Empty);
        for (name, value) in fields {
            head.fields.append(name.as_bytes(), value.as_bytes());
        }
        remove_hop_by_hop(&mut head);
        head.fields.iter().map(|field| String::from_utf8_lossy(field.name).to_lowercase()).collect()
    }

    #[test]
    fn what_is_between_the_endpoint_and_the_gateway_is_not_passed_on() {
        let fields = [
            ("Connection", "close, X-Hop, content-length"),
            ("Keep-Alive", "timeout=5"),
            ("X-Hop", "1"),
            ("Upgrade", "h2c"),
            ("Content-Length", "3"),
            ("Etag", "x"),
        ];
        assert_eq!(names(200, &fields), ["content-length", "etag"]);
    }

    #[test]
    fn a_websocket_handshake_stays_whole() {
        assert_eq!(names(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]).len(), 2);
    }
}
