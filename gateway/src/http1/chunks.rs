//! The chunked transfer coding (RFC 9112 §7.1), with trailers.

use bytes::{Buf, BytesMut};
use httparse::{EMPTY_HEADER, Status, parse_chunk_size};
use memchr::memchr;

use super::decode::{Decoded, Malformed, cut};
use super::head_end::{HeadEnd, LineEnds};
use super::trailers::is_allowed;
use crate::message::{Fields, Name};

/// The most bytes of chunk extensions and trailers of one body. As hyper has it, and as much as a chunk.
const EXTRA_LIMIT: usize = 16 * 1024;

/// The most fields of a trailer section.
const MAX_TRAILERS: usize = 100;

/// Digits of the largest chunk size, CRLF included.
const SIZE_LENGTH: usize = 18;

/// Decoder of a chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of extensions and trailers so far.
    extra: usize,
    trailers: Option<Box<Fields>>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In front of a chunk's size.
    Size,
    /// Bytes of the chunk that are left.
    Data(u64),
    /// In front of the CRLF after a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers(HeadEnd),
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { place: Place::Size, extra: 0, trailers: None }
    }
}

impl Chunks {
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            let is_complete = match &mut self.place {
                Place::Size => self.read_size(input)?,
                Place::Data(left) => {
                    let decoded = cut(input, left);
                    if *left == 0 {
                        self.place = Place::DataEnd;
                    }
                    return Ok(decoded);
                }
                Place::DataEnd => self.read_data_end(input)?,
                Place::Trailers(_) => self.read_trailers(input)?,
                Place::Done => return Ok(Decoded::End),
            };
            if !is_complete {
                return Ok(Decoded::Incomplete);
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.place, Place::Done)
    }

    pub(super) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_deref()
    }

    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take().map(|trailers| *trailers)
    }

    fn count_extra(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.extra += bytes;
        if self.extra > EXTRA_LIMIT { Err(Malformed) } else { Ok(()) }
    }

    /// Reads the line of a chunk's size. `httparse` takes an empty size for 0 and lets a bare LF pass in an extension.
    fn read_size(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        let Some(end) = memchr(b'\n', input) else {
            let is_too_long = input.len() > SIZE_LENGTH + EXTRA_LIMIT - self.extra;
            return if is_too_long { Err(Malformed) } else { Ok(false) };
        };
        let text = input[..end].strip_suffix(b"\r").ok_or(Malformed)?;
        let is_valid = text.first().is_some_and(u8::is_ascii_hexdigit)
            && !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let Ok(Status::Complete((_, size))) = parse_chunk_size(&input[..=end]) else { return Err(Malformed) };
        if !is_valid {
            return Err(Malformed);
        }
        let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        self.count_extra(text.len() - digits)?;
        input.advance(end + 1);
        self.place = if size == 0 { Place::Trailers(HeadEnd::new(LineEnds::Strict)) } else { Place::Data(size) };
        Ok(true)
    }

    fn read_data_end(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        match **input {
            [b'\r', b'\n', ..] => {
                input.advance(2);
                self.place = Place::Size;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(Malformed),
        }
    }

    fn read_trailers(&mut self, input: &mut BytesMut) -> Result<bool, Malformed> {
        let Place::Trailers(end) = &mut self.place else { return Err(Malformed) };
        let length = match **input {
            [b'\r', b'\n', ..] => 2,
            [] | [b'\r'] => return Ok(false),
            _ => match end.find(input).map_err(|_| Malformed)? {
                Some(length) => length,
                None if input.len() > EXTRA_LIMIT - self.extra => return Err(Malformed),
                None => return Ok(false),
            },
        };
        self.count_extra(length)?;
        self.trailers = parse_trailers(&input[..length])?.map(Box::new);
        input.advance(length);
        self.place = Place::Done;
        Ok(true)
    }
}

fn parse_trailers(bytes: &[u8]) -> Result<Option<Fields>, Malformed> {
    if bytes.len() == 2 {
        return Ok(None);
    }
    let mut headers = [EMPTY_HEADER; MAX_TRAILERS];
    let Ok(Status::Complete((_, headers))) = httparse::parse_headers(bytes, &mut headers) else {
        return Err(Malformed);
    };
    let mut trailers = Fields::with_capacity(bytes.len());
    for header in headers {
        let name = Name::of(header.name.as_bytes());
        if is_allowed(name, header.name.as_bytes()) {
            trailers.push(name, header.name.as_bytes(), header.value);
        }
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}
