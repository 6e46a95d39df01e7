//! Values of header fields, apart from what they were read with.
//!
//! A value is a part of the buffer that the header was read into, several KiB large. HPACK has a table of values that lasts
//! as long as the connection (RFC 7541 §2.3.2), and each of its entries would keep such a buffer.

use http::{HeaderMap, HeaderValue};
use pingora_http::{RequestHeader, ResponseHeader};

/// Longer ones are in no table: three quarters of the 4096 bytes that h2 gives a table is the longest it puts there.
const MOST: usize = 3 * 1024;

/// For the header of a response that goes to a client by HTTP/2.
pub(super) fn detach_response(response: &mut ResponseHeader) {
    let Ok(empty) = ResponseHeader::build_no_case(response.status, Some(0)) else { return };
    let mut parts = http::response::Parts::from(std::mem::replace(response, empty));
    detach(&mut parts.headers);
    *response = ResponseHeader::from(parts);
}

/// For the header of a request that goes to an endpoint by HTTP/2.
pub(super) fn detach_request(request: &mut RequestHeader) {
    let names: smallvec::SmallVec<[_; 16]> = request.headers.keys().cloned().collect();
    for name in names {
        let values = request.headers.get_all(&name);
        let copies: smallvec::SmallVec<[_; 2]> = values.iter().map(copy).collect();
        request.remove_header(&name);
        for copy in copies {
            // It was in there a moment ago.
            let _ = request.append_header(name.clone(), copy);
        }
    }
}

/// For the trailers of a response that goes to a client by HTTP/2.
pub(super) fn detach(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        *value = copy(value);
    }
}

/// A value with memory of its own, if it may last.
fn copy(value: &HeaderValue) -> HeaderValue {
    let bytes = value.as_bytes();
    let copy = if bytes.len() <= MOST { HeaderValue::from_bytes(bytes).ok() } else { None };
    let Some(mut copy) = copy else { return value.clone() };
    copy.set_sensitive(value.is_sensitive());
    copy
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderName;

    use super::*;

    const FIELDS: [(&str, &str); 4] = [("x-one", "first"), ("x-two", "a"), ("x-two", "b"), ("x-three", "last")];

    /// Values as they are read: parts of one buffer.
    fn values(buffer: &Bytes) -> Vec<(HeaderName, HeaderValue)> {
        let mut rest = buffer.clone();
        let field = |(name, text): (&str, &str)| {
            let mut value = HeaderValue::from_maybe_shared(rest.split_to(text.len())).expect("valid");
            value.set_sensitive(name == "x-one");
            (name.parse().expect("valid"), value)
        };
        FIELDS.into_iter().map(field).collect()
    }

    fn buffer() -> Bytes {
        FIELDS.iter().map(|(_, text)| *text).collect::<String>().into()
    }

    fn ensure_copied(headers: &HeaderMap, buffer: &Bytes) {
        let read = buffer.as_ptr_range();
        for value in headers.values() {
            assert!(!read.contains(&value.as_bytes().as_ptr()), "{value:?} is where it was read");
        }
        let all: Vec<_> = headers.get_all("x-two").iter().collect();
        assert_eq!(all, ["a", "b"]);
        assert_eq!(
            (headers.len(), &headers["x-one"], &headers["x-three"]),
            (4, &"first".parse().unwrap(), &"last".parse().unwrap())
        );
        assert!(headers["x-one"].is_sensitive() && !headers["x-three"].is_sensitive());
    }

    #[test]
    fn values_of_a_response_are_apart_from_what_was_read() {
        let buffer = buffer();
        let mut response = ResponseHeader::build(404, None).expect("valid");
        for (name, value) in values(&buffer) {
            response.append_header(name, value).expect("valid");
        }
        assert!(buffer.as_ptr_range().contains(&response.headers["x-one"].as_bytes().as_ptr()));
        detach_response(&mut response);
        ensure_copied(&response.headers, &buffer);
        assert_eq!(response.status, 404);
    }

    #[test]
    fn values_of_a_request_are_apart_from_what_was_read() {
        let buffer = buffer();
        let mut request = RequestHeader::build("POST", b"/path?query", None).expect("valid");
        for (name, value) in values(&buffer) {
            request.append_header(name, value).expect("valid");
        }
        detach_request(&mut request);
        ensure_copied(&request.headers, &buffer);
        assert_eq!((request.method.as_str(), request.raw_path()), ("POST", &b"/path?query"[..]));
    }

    #[test]
    fn what_is_too_long_for_a_table_is_not_copied() {
        let long = Bytes::from(vec![b'a'; MOST + 1]);
        let value = HeaderValue::from_maybe_shared(long.clone()).expect("valid");
        assert_eq!(copy(&value).as_bytes().as_ptr(), long.as_ptr());
    }
}
