//! Bodies, from bytes (RFC 9112 §6, §7): cut out of the read buffer, not copied.

use bytes::{Bytes, BytesMut};

use super::chunks::Chunks;
use crate::exchange::side::CHUNK;
use crate::message::{BodyLength, Fields};

/// Decoder of one body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// The body has ended, or there is none.
    Done,
    /// Bytes that are left.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked(Chunks),
    /// Ends with the connection: also raw bytes after 101.
    UntilClose,
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Bytes of the body, at most [`CHUNK`].
    Data(Bytes),
    /// The body has ended.
    End,
    /// More has to be read.
    Incomplete,
}

/// The body's framing is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Decoder {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::default())
    }

    /// Creates the decoder of a request's body.
    pub(super) fn of(body: BodyLength) -> Self {
        match body {
            BodyLength::Empty => Self::Done,
            BodyLength::Exact(length) => Self::Length(length),
            BodyLength::Unknown => Self::chunked(),
        }
    }

    /// Cuts the next bytes of the body out of `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Malformed> {
        let decoded = match self {
            Self::Done | Self::Length(0) => Decoded::End,
            Self::Length(left) => cut(input, left),
            Self::Chunked(chunks) => chunks.decode(input)?,
            Self::UntilClose => cut(input, &mut { u64::MAX }),
        };
        let is_over = matches!(self, Self::Length(0)) || decoded == Decoded::End && self.trailers().is_none();
        if is_over {
            *self = Self::Done;
        }
        Ok(decoded)
    }

    /// Returns `true` if the end of the input is the end of the body.
    pub(super) fn ends_with_input(&mut self) -> bool {
        let ends = matches!(self, Self::UntilClose | Self::Done);
        if ends {
            *self = Self::Done;
        }
        ends
    }

    /// Returns `true` once the whole body has been decoded.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// Returns the number of bytes that are worth reading at once.
    pub(super) fn wants(&self) -> usize {
        match self {
            Self::Length(left) => usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK),
            _ => CHUNK,
        }
    }

    /// Returns the bytes that are left, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the trailers, once the body has ended.
    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        match self {
            Self::Chunked(chunks) => chunks.take_trailers(),
            _ => None,
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        match self {
            Self::Chunked(chunks) => chunks.trailers(),
            _ => None,
        }
    }
}

/// Cuts at most `left` bytes off the front of `input`.
pub(super) fn cut(input: &mut BytesMut, left: &mut u64) -> Decoded {
    if input.is_empty() {
        return Decoded::Incomplete;
    }
    let count = input.len().min(CHUNK).min(usize::try_from(*left).unwrap_or(CHUNK));
    *left -= count as u64;
    Decoded::Data(input.split_to(count).freeze())
}

#[cfg(test)]
mod tests;
