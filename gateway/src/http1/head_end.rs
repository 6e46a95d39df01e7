//! The end of a head, found while it arrives, so that each byte is looked at once and a head is parsed once.

use memchr::memchr;

use super::MAX_FIELDS;
use super::fault::Fault;

/// How lines may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// CRLF alone: requests and trailers.
    Strict,
    /// A bare LF ends a line as well (RFC 9112 §2.2): responses, whose framing depends on one peer that is trusted.
    Lenient,
}

/// Follows the lines of a head, or of trailers, up to the empty one.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadEnd {
    ends: LineEnds,
    /// Bytes that were looked at.
    seen: usize,
    /// Start of the line that is being read.
    line: usize,
    /// Complete lines that are not empty.
    lines: usize,
}

impl HeadEnd {
    pub(super) const fn new(ends: LineEnds) -> Self {
        Self { ends, seen: 0, line: 0, lines: 0 }
    }

    /// Returns the length of the head, the empty line included, once it is there. `bytes` begins where it did before.
    ///
    /// Empty lines before the first one are skipped (RFC 9112 §2.2).
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        if self.lines == 0 && self.ends == LineEnds::Strict {
            check_first_line(&bytes[self.seen..])?;
        }
        while let Some(length) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + length;
            let line = &bytes[self.line..end];
            let text = line.strip_suffix(b"\r");
            if text.is_none() && self.ends == LineEnds::Strict {
                return Err(Fault::BareLineFeed);
            }
            (self.seen, self.line) = (end + 1, end + 1);
            match (text.unwrap_or(line).is_empty(), self.lines) {
                (true, 0) => {}
                (true, _) => return Ok(Some(self.line)),
                // The first line and the fields.
                (false, 0..=MAX_FIELDS) => self.lines += 1,
                (false, _) => return Err(Fault::TooManyFields),
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Refuses what cannot become a request line, for example TLS on a plain port, before its end has come.
fn check_first_line(bytes: &[u8]) -> Result<(), Fault> {
    let line_end = bytes.iter().position(|byte| *byte < b' ' && !matches!(byte, b'\r' | b'\n') || *byte == b'\n');
    match line_end.map(|at| bytes[at]) {
        None | Some(b'\n') => Ok(()),
        Some(_) => Err(Fault::RequestLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in one piece and in pieces of a byte.
    fn find(ends: LineEnds, text: &str) -> Result<Option<usize>, Fault> {
        let mut whole = HeadEnd::new(ends);
        let found = whole.find(text.as_bytes());
        let mut dripped = HeadEnd::new(ends);
        let mut last = Ok(None);
        for end in 1..=text.len() {
            last = dripped.find(&text.as_bytes()[..end]);
            if !matches!(last, Ok(None)) {
                break;
            }
        }
        assert_eq!(found, last, "{text:?}");
        found
    }

    #[test]
    fn a_head_ends_with_its_empty_line_however_it_arrives() {
        for (text, length) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET", Some(27)),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(22)),
            ("GET / HTTP/1.1\r\nhost: a\r\n", None),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(find(LineEnds::Strict, text), Ok(length), "{text:?}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_in_a_request_and_ends_a_line_of_a_response() {
        for text in
            ["GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n", "GET / HTTP/1.1\r\na: b\r\n\n", "\nGET /"]
        {
            assert_eq!(find(LineEnds::Strict, text), Err(Fault::BareLineFeed), "{text:?}");
        }
        assert_eq!(find(LineEnds::Lenient, "HTTP/1.1 200 OK\na: b\n\nbody"), Ok(Some(22)));
    }

    #[test]
    fn fields_are_counted_up_to_the_empty_line() {
        for (fields, verdict) in [(MAX_FIELDS, true), (MAX_FIELDS + 1, false)] {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n{}", "a: b\r\n".repeat(fields), "body\r\n".repeat(300));
            assert_eq!(find(LineEnds::Strict, &text).is_ok(), verdict, "{fields}");
        }
    }

    #[test]
    fn a_control_character_is_refused_before_the_request_line_has_ended() {
        for text in ["\x16\x03\x01\x02", "GET /\0", "GET /a\tb"] {
            assert_eq!(find(LineEnds::Strict, text), Err(Fault::RequestLine), "{text:?}");
        }
    }
}
