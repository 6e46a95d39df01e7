//! Heads of requests as `h2` decodes them.

use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use super::fields;
use crate::message::{BodyLength, Fields, Name, RequestHead, Version};

/// The head is not that of an HTTP request (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedHead;

/// Copies the head of a request into one compact buffer.
///
/// A `Host` field that is not what `:authority` says stays among the fields, and so does a second one: whoever validates
/// the head refuses it by that. `h2` has refused connection-specific fields, `TE` other than `trailers`, and lengths that
/// are not one number (each resets the stream).
///
/// # Errors
/// If the target is neither a path nor, of OPTIONS, `*`.
pub(super) fn of_parts(parts: &Parts, has_ended: bool) -> Result<RequestHead, MalformedHead> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let protocol = parts.extensions.get::<Protocol>();
    let target = match target.as_bytes() {
        [b'/', ..] => target,
        b"*" if parts.method == Method::OPTIONS => target,
        // Without `:protocol` it has no path.
        [] if parts.method == Method::CONNECT && protocol.is_none() => "*",
        _ => return Err(MalformedHead),
    };
    let hosts = || parts.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let (authority, others) = match parts.uri.authority() {
        Some(authority) => {
            let authority = authority.as_str().as_bytes();
            let is_same = hosts().count() == 1 && hosts().all(|host| host.eq_ignore_ascii_case(authority));
            (authority, hosts().skip(usize::from(is_same)))
        }
        None => (hosts().next().unwrap_or_default(), hosts().skip(1)),
    };
    let mut head = RequestHead {
        version: Version::Http2,
        method: parts.method.clone(),
        target: target.as_bytes().into(),
        authority: authority.into(),
        fields: of_map(&parts.headers),
        body: if has_ended { BodyLength::Empty } else { body_length(&parts.headers) },
        upgrade: protocol.map(|protocol| protocol.as_str().as_bytes().into()),
        expects_continue: expects_continue(&parts.headers),
        takes_trailers: true,
    };
    for host in others {
        head.fields.append_known(Name::Host, host);
    }
    Ok(head)
}

/// Joins the crumbs of `Cookie` into one field (RFC 9113 §8.2.3), and leaves out what the head says otherwise.
fn of_map(map: &HeaderMap) -> Fields {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
    let mut fields = Fields::with_capacity(bytes);
    let mut has_cookie = false;
    for (name, value) in map {
        if name == header::COOKIE {
            if !std::mem::replace(&mut has_cookie, true) {
                append_cookie(&mut fields, map);
            }
        } else if name != header::HOST && name != header::CONTENT_LENGTH {
            fields.append(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    fields
}

fn append_cookie(fields: &mut Fields, map: &HeaderMap) {
    let mut crumbs = map.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    match (crumbs.next(), crumbs.next()) {
        (Some(only), None) => fields.append_known(Name::Cookie, only),
        (Some(first), Some(second)) => {
            let mut all = [first, second].join(&b"; "[..]);
            for crumb in crumbs {
                all.extend_from_slice(b"; ");
                all.extend_from_slice(crumb);
            }
            fields.append_known(Name::Cookie, &all);
        }
        (None, _) => {}
    }
}

fn body_length(map: &HeaderMap) -> BodyLength {
    fields::content_length(map).map_or(BodyLength::Unknown, BodyLength::Exact)
}

fn expects_continue(map: &HeaderMap) -> bool {
    map.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn head(method: Method, uri: &str, fields: &[(&'static str, &'static str)]) -> RequestHead {
        of_parts(&parts(method, uri, fields), false).unwrap()
    }

    #[test]
    fn crumbs_of_a_cookie_are_joined_where_the_first_stood() {
        let fields = [("a", "1"), ("cookie", "a=1"), ("b", "2"), ("cookie", "b=2"), ("cookie", "session=xyz")];
        let head = head(Method::GET, "https://shop.test/", &fields);
        let listed: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"cookie", b"a=1; b=2; session=xyz"), (b"b", b"2")];
        assert_eq!(listed, expected);
    }

    #[test]
    fn the_authority_is_that_of_the_target_or_else_of_host() {
        for (uri, hosts, authority, left) in [
            ("https://shop.test/", &[][..], "shop.test", 0),
            ("https://shop.test/", &[("host", "SHOP.test")], "shop.test", 0),
            ("https://shop.test/", &[("host", "other.test")], "shop.test", 1),
            ("https://shop.test/", &[("host", "shop.test"), ("host", "shop.test")], "shop.test", 2),
            ("/", &[("host", "shop.test")], "shop.test", 0),
            ("/", &[("host", "shop.test"), ("host", "other.test")], "shop.test", 1),
            ("/", &[], "", 0),
        ] {
            let head = head(Method::GET, uri, hosts);
            assert_eq!(&*head.authority, authority.as_bytes(), "{uri} {hosts:?}");
            assert_eq!(head.fields.get_all(Name::Host).count(), left, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn the_length_of_a_body_is_that_of_the_frames_or_the_field() {
        for (fields, has_ended, length) in [
            (&[][..], true, BodyLength::Empty),
            (&[("content-length", "0")], true, BodyLength::Empty),
            (&[("content-length", "5")], false, BodyLength::Exact(5)),
            (&[("content-length", "5"), ("content-length", "5")], false, BodyLength::Exact(5)),
            (&[], false, BodyLength::Unknown),
        ] {
            let head = of_parts(&parts(Method::POST, "https://a.test/", fields), has_ended).unwrap();
            assert_eq!((head.body, head.fields.len()), (length, 0), "{fields:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_of_options_an_asterisk() {
        for (method, uri, target) in [
            (Method::GET, "https://a.test/b?c=%22", Some("/b?c=%22")),
            (Method::GET, "*", None),
            (Method::OPTIONS, "*", Some("*")),
            (Method::CONNECT, "a.test:443", Some("*")),
        ] {
            let head = of_parts(&parts(method, uri, &[]), true);
            assert_eq!(head.ok().map(|head| String::from_utf8(head.target.to_vec()).unwrap()).as_deref(), target);
        }
    }

    #[test]
    fn an_extended_connect_asks_for_a_protocol() {
        let mut parts = parts(Method::CONNECT, "https://a.test/chat", &[]);
        parts.extensions.insert(Protocol::from_static("websocket"));
        let head = of_parts(&parts, false).unwrap();
        assert!(head.is_websocket());
        assert_eq!((&*head.target, head.body), (&b"/chat"[..], BodyLength::Unknown));
    }
}
