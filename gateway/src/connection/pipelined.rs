//! Bytes of the next request that pingora read with the last one.
//!
//! They travel from request to request in a private field. Its `Debug` output shows them, so that is where they are read.

use std::fmt::{self, Write};

use pingora_core::apps::HttpPersistentSettings;

use super::request_head::RequestHead;

/// The head of the request that begins in `settings`, as far as it is there; `None` if nothing is.
///
/// If pingora ever shows its settings otherwise, this says that there is a head of which nothing is known: the connection
/// then waits inside pingora, which costs memory but loses nothing.
pub(super) fn head_in(settings: &HttpPersistentSettings) -> Option<RequestHead> {
    let mut reader = Reader::default();
    // An error only means that the reader has seen enough.
    let _ = write!(reader, "{settings:?}");
    match reader.place {
        Place::None => None,
        Place::Bytes | Place::Escape | Place::Hex(_) => Some(reader.head),
        Place::Elsewhere | Place::Field | Place::Some => Some(RequestHead::unseen()),
    }
}

/// Reads `pipelined_prefix: Some(b"GET /a HTTP/1.1\r\n...")`.
#[derive(Default)]
struct Reader {
    place: Place,
    head: RequestHead,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// After the field's name.
    Field,
    /// After `Some`.
    Some,
    /// At the field, which is empty.
    None,
    Bytes,
    /// After a backslash.
    Escape,
    /// So many digits are to come.
    Hex(u8),
}

impl Write for Reader {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.place {
            Place::Elsewhere | Place::Field | Place::Some => self.find(text.trim_matches([' ', ':', ',', '('])),
            Place::None => Err(fmt::Error),
            Place::Bytes | Place::Escape | Place::Hex(_) => text.bytes().try_for_each(|byte| self.unescape(byte)),
        }
    }
}

impl Reader {
    fn find(&mut self, word: &str) -> fmt::Result {
        self.place = match (self.place, word) {
            (place, "") => place,
            (Place::Field, "Some") => Place::Some,
            (Place::Field, "None") => Place::None,
            (Place::Some, "b\"") => Place::Bytes,
            // Not as it was when this was written.
            (Place::Field | Place::Some, _) => return Err(fmt::Error),
            (_, "pipelined_prefix") => Place::Field,
            _ => Place::Elsewhere,
        };
        Ok(())
    }

    /// Takes in a byte of a byte string literal, up to its end or that of the head.
    fn unescape(&mut self, byte: u8) -> fmt::Result {
        let (place, read) = match (self.place, byte) {
            (Place::Bytes, b'\\') => (Place::Escape, None),
            (Place::Bytes, b'"') => return Err(fmt::Error),
            (Place::Escape, b'x') => (Place::Hex(2), None),
            (Place::Escape, b'n') => (Place::Bytes, Some(b'\n')),
            (Place::Escape, b'r') => (Place::Bytes, Some(b'\r')),
            (Place::Escape, b't') => (Place::Bytes, Some(b'\t')),
            (Place::Escape, b'0') => (Place::Bytes, Some(0)),
            // Which byte it is matters as little as with other letters; the control characters among them are refused later.
            (Place::Hex(left), _) if left > 1 => (Place::Hex(left - 1), None),
            (Place::Hex(_), _) => (Place::Bytes, Some(b'x')),
            (_, byte) => (Place::Bytes, Some(byte)),
        };
        self.place = place;
        if let Some(byte) = read {
            self.head.read(&[byte]);
        }
        if self.head.is_complete() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use pingora_core::protocols::http::ServerSession;

    use super::*;

    fn settings() -> HttpPersistentSettings {
        HttpPersistentSettings::for_session(&ServerSession::new_http1(Box::new(std::io::Cursor::new(Vec::new()))))
    }

    fn head_of(bytes: &[u8]) -> RequestHead {
        let mut settings = settings();
        settings.set_pipelined_prefix(BytesMut::from(bytes));
        head_in(&settings).expect("there are bytes")
    }

    #[test]
    fn settings_without_pipelined_bytes_have_no_head() {
        assert!(head_in(&settings()).is_none());
    }

    #[test]
    fn the_request_line_of_a_pipelined_request_is_seen() {
        for (bytes, faulty) in [
            (&b"GET /a HTTP/1.1\r\nhost: \"one\" \\ two\xff\r\n\r\nbody \" a b c d"[..], false),
            (b"GET /a b HTTP/1.1\r\nhost: one.test\r\n\r\n", true),
            (b"GET /\xff\"\\ b HTTP/1.1\r\n", true),
            (b"GET /a\tb HTTP/1.1\r\n", true),
        ] {
            assert_eq!(head_of(bytes).has_faulty_line(), faulty, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_arrives_later_goes_on_where_the_bytes_end() {
        let mut head = head_of(b"\r\nGET /a ");
        assert!(!head.is_complete() && !head.has_faulty_line());
        head.read(b"b HTTP/1.1\r\n");
        assert!(head.has_faulty_line());
        let mut head = head_of(b"GET / HTTP/1.1\r\na: b\r");
        head.read(b"\n\r\n");
        assert!(head.is_complete() && !head.has_faulty_line());
    }

    #[test]
    fn the_fields_of_a_pipelined_request_are_counted() {
        let text = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(257));
        assert!(head_of(text.as_bytes()).has_too_many_fields());
    }
}
