//! What is changed in a response before the client sees it.

use http::{HeaderName, StatusCode, header};
use pingora_http::ResponseHeader;
use smallvec::SmallVec;

/// Most names that are taken from `Connection`.
const MAX_NAMED: usize = 8;

/// Removes what is between the upstream and us (RFC 9110 §7.6.1). How the body is framed stays: pingora frames it anew
/// by that. A 101 keeps its handshake.
pub(super) fn remove_hop_by_hop(response: &mut ResponseHeader) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    for name in named_by_connection(response) {
        response.remove_header(&name);
    }
    response.remove_header(&header::CONNECTION);
    response.remove_header(&header::UPGRADE);
    response.remove_header("keep-alive");
    response.remove_header("proxy-connection");
}

fn named_by_connection(response: &ResponseHeader) -> SmallVec<[HeaderName; 2]> {
    let values = response.headers.get_all(header::CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok());
    names.filter(|name| !is_essential(name)).take(MAX_NAMED).collect()
}

/// Without these a response is another one.
fn is_essential(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::CONTENT_TYPE
            | header::CONTENT_ENCODING
            | header::TRANSFER_ENCODING
            | header::TRAILER
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).expect("valid");
        for (name, value) in fields {
            response.append_header(*name, *value).expect("valid");
        }
        response
    }

    #[test]
    fn what_is_between_the_upstream_and_us_is_not_passed_on() {
        let fields = [
            ("Connection", "close, X-Hop, content-length"),
            ("Keep-Alive", "timeout=5"),
            ("X-Hop", "1"),
            ("Upgrade", "h2c"),
            ("Content-Length", "3"),
            ("Etag", "x"),
        ];
        let mut response = response(200, &fields);
        remove_hop_by_hop(&mut response);
        let mut left: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "etag"]);
    }

    #[test]
    fn a_websocket_handshake_stays_whole() {
        let mut response = response(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]);
        remove_hop_by_hop(&mut response);
        assert_eq!(response.headers.len(), 2);
    }
}
