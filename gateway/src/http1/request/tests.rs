use super::super::head_end::{HeadEnd, LineEnds};
use super::*;

/// Parses as the server does; LF stands for CRLF.
fn read(head: &str) -> Result<Parsed, Fault> {
    read_bytes(head.replace('\n', "\r\n").as_bytes())
}

fn read_bytes(bytes: &[u8]) -> Result<Parsed, Fault> {
    let length = HeadEnd::new(LineEnds::Strict).find(bytes)?.expect("the head is complete");
    parse(&bytes[..length])
}

/// Parses a GET with these fields besides Host.
fn with(fields: &str) -> Parsed {
    let head = format!("GET /a HTTP/1.1\nHost: a.test\n{fields}\n");
    read(&head).unwrap_or_else(|fault| panic!("{fields:?}: {fault:?}"))
}

fn names(head: &RequestHead) -> Vec<String> {
    head.fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let parsed = read("GET /a?b HTTP/1.1\nHost: A.test:80\nX-One:  1 \nx-one: \nAccept: */*\n\n").expect("is valid");
    let head = parsed.head;
    assert_eq!((head.method, &*head.target, &*head.authority), (Method::GET, &b"/a?b"[..], &b"A.test:80"[..]));
    assert_eq!((head.version, head.body, parsed.keep_alive), (Version::Http11, BodyLength::Empty, true));
    let fields: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [(&b"X-One"[..], &b"1"[..]), (b"x-one", b""), (b"Accept", b"*/*")]);
}

#[test]
fn bad_heads_are_refused() {
    let host = "Host: a.test\n";
    for (head, fault) in [
        ("GET /a b HTTP/1.1\n", Fault::RequestLine),
        ("GET  / HTTP/1.1\n", Fault::RequestLine),
        ("GET / HTTP/1.1 \n", Fault::RequestLine),
        (" GET / HTTP/1.1\n", Fault::RequestLine),
        ("GET /\n", Fault::RequestLine),
        ("G(T / HTTP/1.1\n", Fault::RequestLine),
        ("GET /a\x7fb HTTP/1.1\n", Fault::RequestLine),
        ("GET /a\rb HTTP/1.1\n", Fault::RequestLine),
        ("GET / http/1.1\n", Fault::RequestLine),
        ("GET / HTTP/1.2\n", Fault::Version),
        ("GET / HTTP/2.0\n", Fault::Version),
        ("GET a HTTP/1.1\n", Fault::Target),
        ("GET other.test:80 HTTP/1.1\n", Fault::Target),
        ("GET *x HTTP/1.1\n", Fault::Target),
        ("GET * HTTP/1.1\n", Fault::Target),
        ("GET /a#b HTTP/1.1\n", Fault::Target),
        ("GET http://b.test/ HTTP/1.1\n", Fault::Host),
        ("CONNECT a.test:443 HTTP/1.1\n", Fault::Connect),
        ("CONNECT / HTTP/1.1\n", Fault::Connect),
        ("GET / HTTP/1.1\nX-A : 1\n", Fault::Field),
        ("GET / HTTP/1.1\nX-A: 1\n 2\n", Fault::Field),
        ("GET / HTTP/1.1\n X-A: 1\n", Fault::Field),
        ("GET / HTTP/1.1\nX-A: a\0b\n", Fault::Field),
        ("GET / HTTP/1.1\nX-A: a\rb\n", Fault::Field),
        ("GET / HTTP/1.1\nX-A: a\x7fb\n", Fault::Field),
        ("GET / HTTP/1.1\n: x\n", Fault::Field),
        ("GET / HTTP/1.1\nX-A\n", Fault::Field),
        ("GET / HTTP/1.1\nX-\u{e9}: x\n", Fault::Field),
        ("GET / HTTP/1.1\nHost: a.test\n", Fault::Host),
        ("POST / HTTP/1.1\nContent-Length: +5\n", Fault::ContentLength),
        ("POST / HTTP/1.1\nContent-Length: ten\n", Fault::ContentLength),
        ("POST / HTTP/1.1\nContent-Length: 3, 4\n", Fault::ContentLength),
        ("POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n", Fault::ContentLength),
        ("POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n", Fault::TransferCoding),
        ("POST / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n", Fault::TransferCoding),
        ("POST / HTTP/1.0\nTransfer-Encoding: chunked\n", Fault::TransferCoding),
    ] {
        let refused = read(&format!("{head}{host}\n"));
        assert_eq!(refused.err(), Some(fault), "{head:?}");
    }
}

#[test]
fn http_1_1_names_exactly_one_host() {
    for (head, fault) in [
        ("GET / HTTP/1.1\n\n", Fault::MissingHost),
        ("GET http://a.test/ HTTP/1.1\n\n", Fault::MissingHost),
        ("GET / HTTP/1.1\nHost:\n\n", Fault::Host),
        ("GET / HTTP/1.1\nHost: a.test, a.test\n\n", Fault::Host),
        ("GET / HTTP/1.1\nHost: a test\n\n", Fault::Host),
        ("GET / HTTP/1.1\nHost: me@a.test\n\n", Fault::Host),
        ("GET / HTTP/1.0\nHost: a.test/x\n\n", Fault::Host),
        ("GET http://me@a.test/ HTTP/1.1\nHost: me@a.test\n\n", Fault::Host),
    ] {
        assert_eq!(read(head).err(), Some(fault), "{head:?}");
    }
    for (head, authority) in [
        ("GET / HTTP/1.0\n\n", ""),
        ("GET http://a.test/ HTTP/1.0\n\n", "a.test"),
        ("GET http://A.test/ HTTP/1.1\nHost: a.test\n\n", "a.test"),
    ] {
        assert_eq!(&*read(head).expect(head).head.authority, authority.as_bytes(), "{head:?}");
    }
}

#[test]
fn unusual_bytes_of_a_target_are_kept() {
    for target in [&b"/a\"<>`"[..], b"/?q=\"<>`", b"/caf\xc3\xa9", b"/caf\xe9?\xff", b"/{}|\\^"] {
        let head = [b"GET ", target, b" HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat();
        assert_eq!(&*read_bytes(&head).expect("is valid").head.target, target, "{}", target.escape_ascii());
    }
}

#[test]
fn a_length_is_read_once_and_leaves_the_fields() {
    for (fields, body) in [
        ("", BodyLength::Empty),
        ("Content-Length: 0\n", BodyLength::Empty),
        ("Content-Length: 5\n", BodyLength::Exact(5)),
        ("Content-Length: 5\nContent-Length: 5\n", BodyLength::Exact(5)),
        ("Content-Length: 5, 5\n", BodyLength::Exact(5)),
        ("Transfer-Encoding: Chunked\n", BodyLength::Unknown),
    ] {
        let parsed = with(fields);
        assert_eq!(parsed.head.body, body, "{fields:?}");
        assert!(parsed.keep_alive && parsed.head.fields.is_empty(), "{fields:?}");
    }
}

#[test]
fn a_connection_ends_after_a_request_with_two_lengths() {
    let parsed = with("Content-Length: 5\nTransfer-Encoding: chunked\n");
    assert_eq!((parsed.head.body, parsed.keep_alive), (BodyLength::Unknown, false));
}

#[test]
fn a_connection_persists_by_version_and_option() {
    for (version, option, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: x, Close\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\n", true),
        ("1.0", "Connection: keep-alive\nConnection: close\n", false),
    ] {
        let parsed = read(&format!("GET / HTTP/{version}\nHost: a.test\n{option}\n")).expect("is valid");
        assert_eq!(parsed.keep_alive, keep_alive, "{version} {option:?}");
    }
}

#[test]
fn fields_of_the_connection_are_removed() {
    let fields = "Connection: x-forwarded-for, x-custom, authorization, host, content-length\nKeep-Alive: 1\n\
                  Proxy-Connection: x\nUpgrade: websocket\nTE: trailers;q=1, gzip\nX-Custom: 1\nX-Forwarded-For: ::1\n\
                  Authorization: x\nTrailer: a\nHTTP2-Settings: x\nAccept: x\n";
    let parsed = with(fields);
    assert_eq!(names(&parsed.head), ["Trailer", "Accept"]);
    assert_eq!(parsed.head.upgrade, None);
}

#[test]
fn an_upgrade_is_asked_for_if_connection_names_it_and_never_to_http_2() {
    for (fields, upgrade) in [
        ("Upgrade: WebSocket\nConnection: Upgrade\n", Some("WebSocket")),
        ("Upgrade: custom/1.0\nConnection: keep-alive, upgrade\n", Some("custom/1.0")),
        ("Upgrade: websocket\n", None),
        ("Upgrade: h2c\nConnection: upgrade, http2-settings\n", None),
        ("Upgrade: websocket, H2C\nConnection: upgrade\n", None),
        ("Upgrade: HTTP/2.0\nConnection: upgrade\n", None),
    ] {
        let parsed = with(fields);
        assert_eq!(parsed.head.upgrade.as_deref(), upgrade.map(str::as_bytes), "{fields:?}");
        assert!(parsed.head.fields.is_empty(), "{fields:?}");
    }
}

#[test]
fn trailers_and_100_continue_are_noted() {
    let head = with("TE: trailers\nConnection: te\nExpect: 100-Continue\n").head;
    assert!(head.takes_trailers && head.expects_continue);
    let head = with("TE: gzip\nExpect: 200-ok\n").head;
    assert!(!head.takes_trailers && !head.expects_continue);
    let old = read("POST / HTTP/1.0\nExpect: 100-continue\n\n").expect("is valid");
    assert!(!old.head.expects_continue);
}

#[test]
fn several_cookies_become_one() {
    let head = with("Cookie: a=1\nX: y\nCookie: b=2; c=3\n").head;
    assert_eq!(head.fields.get_all(Name::Cookie).collect::<Vec<_>>(), [b"a=1; b=2; c=3"]);
}

#[test]
fn as_many_fields_are_read_as_there_may_be() {
    for fields in [FEW_FIELDS - 1, FEW_FIELDS, MAX_FIELDS - 1] {
        assert_eq!(with(&"a: b\n".repeat(fields)).head.fields.len(), fields);
    }
    let many = format!("GET / HTTP/1.1\nHost: a.test\n{}\n", "a: b\n".repeat(MAX_FIELDS));
    assert_eq!(read(&many).err(), Some(Fault::TooManyFields));
}
