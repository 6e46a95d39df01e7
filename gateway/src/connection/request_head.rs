//! What can be said of a request's head while it is still coming.
//!
//! pingora mends some faults of a request line and answers others with the wrong status; so they are found here, before it
//! sees them.

/// Spaces in a request line (RFC 9112 §3): after the method and after the target.
const SPACES: u32 = 2;

/// pingora reads no more header fields than this, and answers one more with 400.
const MAX_FIELDS: u32 = 256;

/// Follows the lines of a head as they arrive, up to the empty one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestHead {
    place: Place,
    /// Of the request line; what may stand in none of them counts as too many.
    spaces: u32,
    fields: u32,
    after_return: bool,
    /// Of the header line that is being read: it has nothing but its end so far.
    is_line_empty: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Line breaks may come before the request line (RFC 9112 §2.2).
    #[default]
    Before,
    RequestLine,
    Fields,
    /// After the empty line; or nothing is known of where it is.
    Done,
}

impl RequestHead {
    /// A head that is not looked at.
    pub(super) const fn unseen() -> Self {
        Self { place: Place::Done, spaces: 0, fields: 0, after_return: false, is_line_empty: false }
    }

    /// More of it has come.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let (Place::Before | Place::RequestLine, Some((byte, after))) = (self.place, rest.split_first()) {
            self.read_request_line(*byte);
            rest = after;
        }
        while let (Place::Fields, false) = (self.place, rest.is_empty()) {
            rest = self.read_line(rest);
        }
    }

    /// Whether the empty line was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.place == Place::Done
    }

    /// The request line has more than two spaces, or a control character. pingora would escape them, and another parser may
    /// see another target.
    pub(super) fn has_faulty_line(&self) -> bool {
        self.spaces > SPACES
    }

    /// There are more header fields than pingora would read.
    pub(super) fn has_too_many_fields(&self) -> bool {
        self.fields > MAX_FIELDS
    }

    fn read_request_line(&mut self, byte: u8) {
        match byte {
            b'\n' if self.place == Place::Before => {}
            b'\n' => {
                self.place = Place::Fields;
                self.is_line_empty = true;
            }
            b'\r' if !self.after_return => {}
            b' ' => self.spaces = self.spaces.saturating_add(1),
            0..=0x1f | 0x7f => self.spaces = u32::MAX,
            _ => self.place = Place::RequestLine,
        }
        if self.after_return && byte != b'\n' {
            self.spaces = u32::MAX;
        }
        self.after_return = byte == b'\r';
    }

    /// Reads to the end of a line, or as far as it goes. Yields the rest.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
        self.is_line_empty &= line.iter().all(|byte| *byte == b'\r');
        if end.is_some() {
            if self.is_line_empty {
                self.place = Place::Done;
            } else {
                self.fields += 1;
            }
            self.is_line_empty = true;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> RequestHead {
        let mut head = RequestHead::default();
        for part in parts {
            head.read(part.as_bytes());
        }
        head
    }

    /// The same, in pieces of a byte each.
    fn drip(text: &str) -> RequestHead {
        let mut head = RequestHead::default();
        for byte in text.as_bytes().chunks(1) {
            head.read(byte);
        }
        head
    }

    #[test]
    fn a_third_space_in_the_request_line_is_a_fault_wherever_it_arrives() {
        for parts in
            [&["GET /a b HTTP/1.1\r\n"][..], &["G", "ET /a", " b HTT", "P/1.1\r\n"], &["\r\nGET  / HTTP/1.1\r\n"]]
        {
            assert!(read(parts).has_faulty_line(), "{parts:?}");
        }
    }

    #[test]
    fn a_control_character_in_the_request_line_is_a_fault() {
        for line in ["GET /a\tb HTTP/1.1\r\n", "GET /a\rb HTTP/1.1\r\n", "GET /\0 HTTP/1.1\r\n", "GET /\x7f HTTP/1.1\n"]
        {
            assert!(drip(line).has_faulty_line(), "{line:?}");
        }
    }

    #[test]
    fn spaces_after_the_request_line_are_none_of_it() {
        for parts in [&["GET / HTTP/1.1\r\nA: b c d e\r\n"][..], &["GET / HTTP/1.1\r", "\nA: b c", " d e\tf"]] {
            assert!(!read(parts).has_faulty_line(), "{parts:?}");
        }
    }

    #[test]
    fn fields_are_counted_up_to_the_empty_line() {
        for (fields, too_many) in [(0, false), (256, false), (257, true)] {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n{}", "a: b\r\n".repeat(fields), "body\r\n".repeat(300));
            for head in [read(&[&text]), drip(&text)] {
                assert!(head.is_complete());
                assert_eq!(head.has_too_many_fields(), too_many, "{fields}");
            }
        }
    }

    #[test]
    fn what_is_not_looked_at_has_no_fault() {
        let mut head = RequestHead::unseen();
        head.read(b"x y z a b\r\n");
        assert!(head.is_complete() && !head.has_faulty_line());
    }
}
