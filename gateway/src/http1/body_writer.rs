//! Bodies, to bytes (RFC 9112 §6, §7): chunked, by length, or until the connection ends.

use bytes::Bytes;

use super::output::Output;
use super::trailers::is_allowed;
use crate::message::Fields;

/// Framing of the body that is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyWriter {
    /// The message has been written; bytes that come for all that are dropped.
    #[default]
    Done,
    /// Bytes that are left.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Ends with the connection: HTTP/1.0, and raw bytes after 101.
    UntilClose,
}

impl BodyWriter {
    /// Writes bytes of the body. More than were announced are dropped. Returns the number that count.
    pub(super) fn data(&mut self, output: &mut Output, mut data: Bytes) -> usize {
        match self {
            Self::Done => data.clear(),
            Self::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
            }
            Self::Chunked | Self::UntilClose => {}
        }
        let length = data.len();
        if length == 0 {
            // A chunk of no bytes would be the last one.
            return 0;
        }
        if *self == Self::Chunked {
            push_hex(output.tail(), length);
        }
        output.push(data);
        if *self == Self::Chunked {
            output.tail().extend_from_slice(b"\r\n");
        }
        length
    }

    /// Ends the body. Returns `false` if bytes are missing.
    pub(super) fn end(&mut self, output: &mut Output, trailers: Option<&Fields>) -> bool {
        let is_complete = !matches!(self, Self::Length(_));
        if *self == Self::Chunked {
            let tail = output.tail();
            tail.extend_from_slice(b"0\r\n");
            for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
                if is_allowed(field.known, field.name) {
                    push_field(tail, field.name, field.value);
                }
            }
            tail.extend_from_slice(b"\r\n");
        }
        if is_complete {
            *self = Self::Done;
        }
        is_complete
    }
}

/// Appends `name: value CRLF`.
pub(super) fn push_field(buffer: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    buffer.extend_from_slice(name);
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

/// Appends a chunk size and CRLF.
fn push_hex(buffer: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4);
    let digit = |at: u32| b"0123456789abcdef"[number >> (at * 4) & 0xf];
    buffer.extend((0..digits).rev().map(digit));
    buffer.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
pub(super) fn push_decimal(buffer: &mut impl Extend<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    buffer.extend(digits[at..].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut writer: BodyWriter, chunks: &[&'static str], trailers: Option<&Fields>) -> (String, usize, bool) {
        let mut output = Output::default();
        let count = chunks.iter().map(|chunk| writer.data(&mut output, Bytes::from_static(chunk.as_bytes()))).sum();
        let is_complete = writer.end(&mut output, trailers);
        (String::from_utf8(output.tail().clone()).expect("text"), count, is_complete)
    }

    #[test]
    fn a_body_is_written_as_its_framing_has_it() {
        for (writer, bytes, count, is_complete) in [
            (BodyWriter::Done, "", 0, true),
            (BodyWriter::Length(7), "hello w", 7, true),
            (BodyWriter::Length(11), "hello world", 11, true),
            (BodyWriter::Length(12), "hello world", 11, false),
            (BodyWriter::Chunked, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 11, true),
            (BodyWriter::UntilClose, "hello world", 11, true),
        ] {
            let expected = (bytes.to_owned(), count, is_complete);
            assert_eq!(written(writer, &["hello", "", " world"], None), expected, "{writer:?}");
        }
    }

    #[test]
    fn trailers_follow_the_last_chunk_alone() {
        let mut trailers = Fields::default();
        for name in ["x-sum", "host", "grpc-status"] {
            trailers.append(name.as_bytes(), b"1");
        }
        let (bytes, ..) = written(BodyWriter::Chunked, &["a"], Some(&trailers));
        assert_eq!(bytes, "1\r\na\r\n0\r\nx-sum: 1\r\ngrpc-status: 1\r\n\r\n");
        let (bytes, ..) = written(BodyWriter::UntilClose, &["a"], Some(&trailers));
        assert_eq!(bytes, "a");
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 16_384, u32::MAX as usize, usize::MAX] {
            let mut decimal = Vec::new();
            push_decimal(&mut decimal, number as u64);
            assert_eq!(decimal, number.to_string().as_bytes());
            if number > 0 {
                let mut hex = Vec::new();
                push_hex(&mut hex, number);
                assert_eq!(hex, format!("{number:x}\r\n").as_bytes());
            }
        }
    }
}
