use super::*;

fn text(write: impl FnOnce(&mut Vec<u8>) -> BodyWriter) -> (String, BodyWriter) {
    let mut buffer = Vec::new();
    let writer = write(&mut buffer);
    (String::from_utf8(buffer).expect("text").replace("\r\n", "\n"), writer)
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in list {
        fields.append(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn request_head(method: Method, body: BodyLength) -> RequestHead {
    let fields = fields(&[("X-One", "1"), ("Connection", "x"), ("content-length", "9"), ("host", "evil")]);
    RequestHead { fields, body, ..RequestHead::new(Version::Http11, method, b"a.test", b"/a?b") }
}

#[test]
fn a_request_is_framed_by_its_body() {
    for (method, body, framing, writer) in [
        (Method::GET, BodyLength::Empty, "", BodyWriter::Done),
        (Method::POST, BodyLength::Empty, "content-length: 0\n", BodyWriter::Done),
        (Method::POST, BodyLength::Exact(5), "content-length: 5\n", BodyWriter::Length(5)),
        (Method::GET, BodyLength::Unknown, "transfer-encoding: chunked\n", BodyWriter::Chunked),
    ] {
        let expected = format!("{method} /a?b HTTP/1.1\nhost: a.test\nX-One: 1\n{framing}\n");
        let head = request_head(method, body);
        assert_eq!(text(|buffer| request(buffer, &head)), (expected, writer));
    }
}

#[test]
fn te_and_upgrade_are_named_by_connection() {
    for (takes_trailers, upgrade, connection) in [
        (true, None, "te: trailers\nconnection: te\n"),
        (false, Some("websocket"), "connection: upgrade\nupgrade: websocket\n"),
        (true, Some("x/1"), "te: trailers\nconnection: te, upgrade\nupgrade: x/1\n"),
    ] {
        let upgrade = upgrade.map(|protocol| protocol.as_bytes().into());
        let head = RequestHead { upgrade, takes_trailers, ..request_head(Method::GET, BodyLength::Empty) };
        let (written, _) = text(|buffer| request(buffer, &head));
        assert_eq!(written, format!("GET /a?b HTTP/1.1\nhost: a.test\nX-One: 1\n{connection}\n"));
    }
}

#[test]
fn a_response_is_framed_by_status_method_version_and_body() {
    use BodyLength::{Empty, Exact, Unknown};
    use BodyWriter::{Chunked, Done, Length, UntilClose};
    for (status, version, to_head, body, framing, writer) in [
        ("200 OK", Version::Http11, false, Exact(5), "content-length: 5\n", Length(5)),
        ("200 OK", Version::Http10, false, Exact(5), "content-length: 5\n", Length(5)),
        ("200 OK", Version::Http11, false, Unknown, "transfer-encoding: chunked\n", Chunked),
        ("200 OK", Version::Http10, false, Unknown, "", UntilClose),
        ("200 OK", Version::Http11, false, Empty, "content-length: 0\n", Done),
        ("200 OK", Version::Http11, true, Empty, "content-length: 9\n", Done),
        ("200 OK", Version::Http11, true, Unknown, "content-length: 9\n", Done),
        ("304 Not Modified", Version::Http11, false, Empty, "content-length: 9\n", Done),
        ("204 No Content", Version::Http11, false, Unknown, "", Done),
        ("599 ", Version::Http11, false, Empty, "content-length: 0\n", Done),
    ] {
        let code = status[..3].parse().expect("a status");
        let fields = fields(&[("Date", "now"), ("Content-Length", "9"), ("Keep-Alive", "x")]);
        let head = ResponseHead { fields, ..ResponseHead::new(code, body) };
        let (written, framed) = text(|buffer| response(buffer, &head, Reply { version, to_head, keep_alive: true }));
        let connection = if writer == UntilClose { "close" } else { "keep-alive" };
        let expected = format!("HTTP/1.1 {status}\nDate: now\n{framing}connection: {connection}\n\n");
        assert_eq!((written, framed), (expected, writer), "{status} {version:?} {to_head} {body:?}");
    }
}

#[test]
fn a_response_says_what_becomes_of_the_connection() {
    let upgrade = &[("upgrade", "websocket")][..];
    for (status, list, keep_alive, connection) in [
        (200, &[][..], false, "close"),
        (101, upgrade, true, "upgrade"),
        (426, upgrade, true, "upgrade, keep-alive"),
        (426, upgrade, false, "upgrade, close"),
    ] {
        let head = ResponseHead { fields: fields(list), ..ResponseHead::new(status, BodyLength::Empty) };
        let reply = Reply { version: Version::Http11, to_head: false, keep_alive };
        let (written, _) = text(|buffer| response(buffer, &head, reply));
        assert!(written.ends_with(&format!("\nconnection: {connection}\n\n")), "{written}");
    }
}

#[test]
fn an_interim_response_has_fields_but_no_framing() {
    let head = ResponseHead {
        fields: fields(&[("Link", "</a>"), ("content-length", "5")]),
        ..ResponseHead::new(103, BodyLength::Empty)
    };
    let mut buffer = Vec::new();
    interim(&mut buffer, &head);
    assert_eq!(buffer, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}
