//! Heads of responses, from bytes.

use std::mem::MaybeUninit;
use std::time::Duration;

use httparse::{Header, ParserConfig, Response, Status};

use smallvec::SmallVec;

use super::MAX_FIELDS;
use super::body_writer::push_decimal;
use super::decode::Decoder;
use super::fault::Fault;
use super::framing::{Framing, keep_alive_timeout};
use super::options::Options;
use crate::message::{BodyLength, Fields, Name, ResponseHead, Version};

/// A response head, and what its connection learns from it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) head: ResponseHead,
    pub(super) decoder: Decoder,
    /// Whether the endpoint lets the connection persist after the response.
    pub(super) keep_alive: bool,
    /// The time after which the endpoint closes an idle connection.
    pub(super) keep_for: Option<Duration>,
}

/// Parses a complete head: of the response to a request with method HEAD, if `to_head`.
///
/// Folded lines are unfolded and white space before a colon removed (RFC 9112 §5.1, §5.2), as a proxy has to.
pub(super) fn parse(bytes: &[u8], to_head: bool) -> Result<Parsed, Fault> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    match (parsed, response.version, response.code) {
        (Ok(Status::Complete(_)), Some(version), Some(status @ 100..)) => {
            let version = if version == 0 { Version::Http10 } else { Version::Http11 };
            assemble(version, status, response.headers, to_head, bytes.len())
        }
        (Err(httparse::Error::TooManyHeaders), ..) => Err(Fault::TooManyFields),
        _ => Err(Fault::Field),
    }
}

fn assemble(
    version: Version,
    status: u16,
    headers: &[Header<'_>],
    to_head: bool,
    length: usize,
) -> Result<Parsed, Fault> {
    let (mut framing, mut options, mut keep_for) = (Framing::default(), Options::default(), None);
    let mut fields = Fields::with_capacity(length);
    for header in headers {
        let name = Name::of(header.name.as_bytes());
        match name {
            Name::ContentLength => framing.content_length(header.value)?,
            Name::TransferEncoding => framing.transfer_encoding(header.value)?,
            Name::Connection => options.read(header.value),
            Name::KeepAlive => keep_for = keep_alive_timeout(header.value).map(Duration::from_secs),
            // The protocol that was chosen, or that has to be (RFC 9110 §15.5.22).
            Name::Upgrade if status == 101 || status == 426 => push(&mut fields, name, header),
            _ if name.is_hop_by_hop() => {}
            _ => push(&mut fields, name, header),
        }
    }
    options.strip(&mut fields, headers);
    let has_content = framing.is_chunked || framing.length.is_some_and(|length| length > 0);
    let is_bodiless = ResponseHead::is_bodiless(status);
    if !framing.is_chunked && (!is_bodiless || status == 304) {
        write_length(&mut fields, framing.length);
    }
    let (body, decoder) = if is_bodiless || to_head { (BodyLength::Empty, Decoder::Done) } else { body_of(framing) };
    // An endpoint that gets its own framing wrong may send more than was read (RFC 9112 §6.1, §6.3).
    let is_doubtful =
        framing.is_chunked && (framing.length.is_some() || version == Version::Http10) || status == 204 && has_content;
    let keep_alive = options.persists(version) && !is_doubtful && !matches!(decoder, Decoder::UntilClose);
    let head = ResponseHead { version, status, fields, body };
    Ok(Parsed { head, decoder, keep_alive, keep_for })
}

fn body_of(framing: Framing) -> (BodyLength, Decoder) {
    match (framing.is_chunked, framing.length) {
        (true, _) => (BodyLength::Unknown, Decoder::chunked()),
        (false, None) => (BodyLength::Unknown, Decoder::UntilClose),
        (false, Some(0)) => (BodyLength::Empty, Decoder::Done),
        (false, Some(length)) => (BodyLength::Exact(length), Decoder::Length(length)),
    }
}

fn write_length(fields: &mut Fields, length: Option<u64>) {
    if let Some(length) = length {
        let mut digits = SmallVec::<[u8; 20]>::new();
        push_decimal(&mut digits, length);
        fields.append_known(Name::ContentLength, &digits);
    }
}

/// Appends a field, unfolded (RFC 9112 §5.2).
fn push(fields: &mut Fields, name: Name, header: &Header<'_>) {
    if memchr::memchr2(b'\r', b'\n', header.value).is_none() {
        return fields.push(name, header.name.as_bytes(), header.value);
    }
    let lines = header.value.split(|byte| b"\r\n".contains(byte)).map(<[u8]>::trim_ascii);
    let unfolded = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(&b' ');
    fields.push(name, header.name.as_bytes(), &unfolded);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str, to_head: bool) -> Result<Parsed, Fault> {
        parse(head.replace('\n', "\r\n").as_bytes(), to_head)
    }

    fn text(head: &ResponseHead) -> String {
        let line = |field: crate::message::Field<'_>| {
            format!("{}: {}\n", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value))
        };
        head.fields.iter().map(line).collect()
    }

    #[test]
    fn a_body_is_framed_by_status_method_and_fields() {
        use BodyLength::{Empty, Exact, Unknown};
        let length = "content-length: 5\n";
        for (head, to_head, body, keep_alive, fields) in [
            ("1.1 200 OK\nContent-Length: 5\n", false, Exact(5), true, length),
            ("1.1 200 OK\nContent-Length: 5, 5\nContent-Length: 5\n", false, Exact(5), true, length),
            ("1.1 200 OK\nContent-Length: 0\n", false, Empty, true, "content-length: 0\n"),
            ("1.1 200 OK\nTransfer-Encoding: Chunked\n", false, Unknown, true, ""),
            ("1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n", false, Unknown, false, ""),
            ("1.0 200 OK\nTransfer-Encoding: chunked\nConnection: keep-alive\n", false, Unknown, false, ""),
            ("1.1 200 OK\n", false, Unknown, false, ""),
            ("1.1 200 OK\nContent-Length: 5\n", true, Empty, true, length),
            ("1.1 200 OK\nTransfer-Encoding: chunked\n", true, Empty, true, ""),
            ("1.1 200 OK\n", true, Empty, true, ""),
            ("1.1 304 Not Modified\nContent-Length: 5\n", false, Empty, true, length),
            ("1.1 204 No Content\n", false, Empty, true, ""),
            ("1.1 204 No Content\nContent-Length: 0\n", false, Empty, true, ""),
            ("1.1 204 No Content\nContent-Length: 5\n", false, Empty, false, ""),
            ("1.1 204 No Content\nTransfer-Encoding: chunked\n", false, Empty, false, ""),
            ("1.1 103 Early Hints\nContent-Length: 5\n", false, Empty, true, ""),
            ("1.0 200 OK\nContent-Length: 5\n", false, Exact(5), false, length),
            ("1.0 200 OK\nContent-Length: 5\nConnection: keep-alive\n", false, Exact(5), true, length),
            ("1.1 200 OK\nContent-Length: 5\nConnection: close\n", false, Exact(5), false, length),
        ] {
            let parsed = read(&format!("HTTP/{head}\n"), to_head).expect(head);
            assert_eq!((parsed.head.body, parsed.keep_alive), (body, keep_alive), "{head:?} {to_head}");
            assert_eq!(text(&parsed.head), fields, "{head:?} {to_head}");
        }
    }

    #[test]
    fn malformed_responses_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n",
            "HTTP/1.1 200 OK\nContent-Length: +5\n",
            "HTTP/1.1 099 Odd\n",
            "HTTP/1.1 20 OK\n",
            "HTTP/2.0 200 OK\n",
            "ICY 200 OK\n",
            "HTTP/1.1 200 OK\nX-A: a\0b\n",
            "HTTP/1.1 200 OK\n: a\n",
        ] {
            assert!(read(&format!("{head}\n"), false).is_err(), "{head:?}");
        }
        let many = format!("HTTP/1.1 200 OK\n{}\n", "a: b\n".repeat(MAX_FIELDS + 1));
        assert_eq!(read(&many, false).err(), Some(Fault::TooManyFields));
    }

    #[test]
    fn folded_lines_are_unfolded_and_space_before_a_colon_is_removed() {
        let parsed = read("HTTP/1.1 200 OK\nX-A: 1,\n\t 2\n  3 \nX-B : 4\nX-C:\n 5\n\n", false).expect("is valid");
        assert_eq!(text(&parsed.head), "X-A: 1, 2 3\nX-B: 4\nX-C: 5\n");
    }

    #[test]
    fn fields_of_the_connection_are_removed_and_its_timeout_kept() {
        let head = "HTTP/1.1 200 OK\nConnection: x-hop, keep-alive\nKeep-Alive: timeout=5, max=9\nX-Hop: 1\n\
                    Upgrade: h3\nDate: now\nContent-Length: 0\n\n";
        let parsed = read(head, false).expect("is valid");
        assert_eq!(text(&parsed.head), "Date: now\ncontent-length: 0\n");
        assert_eq!((parsed.keep_alive, parsed.keep_for), (true, Some(Duration::from_secs(5))));
    }

    #[test]
    fn the_protocol_that_was_switched_to_is_kept() {
        let parsed = read("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: websocket\n\n", false);
        assert_eq!(text(&parsed.expect("is valid").head), "Upgrade: websocket\n");
    }
}
