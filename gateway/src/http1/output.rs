//! Bytes on their way out: a head and the first bytes of its body leave in one write, large chunks are not copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::exchange::side::CHUNK;

/// Bytes of small pieces above which no more are taken before some have left: one TLS record (RFC 8446 §5.1).
const CAPACITY: usize = CHUNK;

/// A piece of this size or more is not copied.
pub(super) const LARGE: usize = 4 * 1024;

/// Less than [`CAPACITY`] bytes of small pieces, and one large chunk, in order. Without memory once
/// [released](Self::release).
#[derive(Debug, Default)]
pub(super) struct Output {
    front: Vec<u8>,
    /// Bytes of `front` that have left.
    sent: usize,
    /// A large chunk, after `front`.
    data: Bytes,
    /// Small pieces after `data`.
    back: Vec<u8>,
}

impl Output {
    /// Returns the buffer to which small pieces are appended.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        if self.data.is_empty() { &mut self.front } else { &mut self.back }
    }

    /// Appends a chunk: copied if it is small.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < LARGE || !self.data.is_empty() {
            self.tail().extend_from_slice(&data);
        } else {
            self.data = data;
        }
    }

    /// Returns `true` if there is room for another chunk.
    pub(super) fn has_room(&self) -> bool {
        self.data.is_empty() && self.front.len() - self.sent < CAPACITY - LARGE
    }

    /// Returns the bytes that have not left.
    pub(super) fn len(&self) -> usize {
        self.front.len() - self.sent + self.data.len() + self.back.len()
    }

    /// Returns `true` if everything has left.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the memory back, if nothing is held.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Hands everything to `io`, without flushing `io`.
    pub(super) fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.front.is_empty() || !self.data.is_empty() {
            let front = &self.front[self.sent..];
            let written = if self.data.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, front))?
            } else {
                let slices = [IoSlice::new(front), IoSlice::new(&self.data), IoSlice::new(&self.back)];
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_front = written.min(self.front.len() - self.sent);
        let of_data = (written - of_front).min(self.data.len());
        let of_back = written - of_front - of_data;
        self.sent += of_front;
        if self.sent < self.front.len() {
            return;
        }
        self.data.advance(of_data);
        self.front.clear();
        self.sent = 0;
        if self.data.is_empty() {
            // Not the slice of an empty chunk: its buffer would be kept.
            self.data = Bytes::new();
            std::mem::swap(&mut self.front, &mut self.back);
            self.sent = of_back;
            if self.sent == self.front.len() {
                self.front.clear();
                self.sent = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes at most `most` bytes per call, and remembers the calls.
    #[derive(Default)]
    struct Recorder {
        most: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            all.truncate(self.most);
            let count = all.len();
            self.writes.push(all);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn drain(output: &mut Output, io: &mut Recorder) {
        assert!(output.poll_drain(&mut Context::from_waker(Waker::noop()), io).is_ready());
        assert!(output.is_empty() && output.has_room());
    }

    #[test]
    fn a_head_and_its_body_leave_in_one_write() {
        for length in [4, LARGE, CHUNK] {
            let (mut output, mut io) = (Output::default(), Recorder { most: usize::MAX, ..Recorder::default() });
            output.tail().extend_from_slice(b"head\r\n\r\n");
            output.push(Bytes::from(vec![b'x'; length]));
            output.tail().extend_from_slice(b"\r\n0\r\n\r\n");
            drain(&mut output, &mut io);
            assert_eq!(io.writes, [[b"head\r\n\r\n", &vec![b'x'; length][..], b"\r\n0\r\n\r\n"].concat()]);
        }
    }

    #[test]
    fn no_more_than_its_capacity_is_held_back() {
        for length in [100, LARGE - 1, CHUNK] {
            let mut output = Output::default();
            while output.has_room() {
                output.push(Bytes::from(vec![7; length]));
            }
            assert!(output.len() <= CAPACITY, "{length}");
        }
    }

    #[test]
    fn bytes_keep_their_order_through_short_writes() {
        for most in [1, 700, 5_000, 100_000] {
            let (mut output, mut io) = (Output::default(), Recorder { most, ..Recorder::default() });
            let mut expected = Vec::new();
            for (at, length) in [10, LARGE, 3, CHUNK, 0, LARGE - 1, 6_000].into_iter().enumerate() {
                let data: Vec<u8> = (0..length).map(|byte| u8::try_from((byte + at) % 251).unwrap()).collect();
                for piece in [&b"<"[..], &data, b">\r\n"] {
                    expected.extend_from_slice(piece);
                }
                output.tail().extend_from_slice(b"<");
                output.push(Bytes::from(data));
                output.tail().extend_from_slice(b">\r\n");
                if at % 2 == 1 {
                    drain(&mut output, &mut io);
                }
            }
            drain(&mut output, &mut io);
            assert!(io.writes.concat() == expected, "{most}");
        }
    }

    #[test]
    fn a_released_output_holds_no_memory() {
        let (mut output, mut io) = (Output::default(), Recorder { most: usize::MAX, ..Recorder::default() });
        output.push(Bytes::from_static(&[7; CHUNK]));
        output.tail().extend_from_slice(b"\r\n");
        drain(&mut output, &mut io);
        output.release();
        assert_eq!((output.front.capacity(), output.back.capacity()), (0, 0));
    }
}
