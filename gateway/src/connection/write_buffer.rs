//! Write coalescing: header and body of a small response leave in one TLS record and one system call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The most that is held back: one TLS record (RFC 8446 §5.1).
const CAPACITY: usize = 16 * 1024;

/// Bytes that were written but wait for a flush, or for more of their kind.
///
/// Empty and without memory while nothing is waiting, so that an idle connection doesn't pay for it.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    sent: usize,
    looked_at: bool,
}

impl WriteBuffer {
    /// Appends `bytes` whatever the fill is; for the few bytes of a refusal.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.looked_at = false;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes as much of `data` as fits. Writes straight through what would fill the buffer by itself.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.looked_at = false;
        if self.bytes.len() >= CAPACITY {
            ready!(self.poll_drain(cx, io))?;
        }
        if self.bytes.is_empty() && data.len() >= CAPACITY {
            return Pin::new(io).poll_write(cx, data);
        }
        let count = data.len().min(CAPACITY - self.bytes.len());
        self.bytes.extend_from_slice(&data[..count]);
        Poll::Ready(Ok(count))
    }

    /// Hands everything to `io`, without flushing `io`.
    pub(super) fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether bytes are held back to which nothing was added since this was asked last.
    pub(super) fn has_come_to_rest(&mut self) -> bool {
        !self.bytes.is_empty() && std::mem::replace(&mut self.looked_at, true)
    }

    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives the memory back; for connections that go idle.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Records each write; takes at most `most` bytes at a time.
    #[derive(Default)]
    struct Recorder {
        writes: Vec<Vec<u8>>,
        most: usize,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.most);
            self.writes.push(buf[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write_all(buffer: &mut WriteBuffer, io: &mut Recorder, mut data: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        while !data.is_empty() {
            match buffer.poll_write(&mut cx, io, data) {
                Poll::Ready(Ok(count)) => data = &data[count..],
                other => panic!("{other:?}"),
            }
        }
    }

    fn drain(buffer: &mut WriteBuffer, io: &mut Recorder) {
        assert!(buffer.poll_drain(&mut Context::from_waker(Waker::noop()), io).is_ready());
    }

    #[test]
    fn header_and_body_leave_in_one_write() {
        let (mut buffer, mut io) = (WriteBuffer::default(), Recorder { most: usize::MAX, ..Recorder::default() });
        write_all(&mut buffer, &mut io, b"header\r\n\r\n");
        write_all(&mut buffer, &mut io, b"body");
        assert!(io.writes.is_empty());
        drain(&mut buffer, &mut io);
        assert_eq!(io.writes, [b"header\r\n\r\nbody".to_vec()]);
    }

    #[test]
    fn no_more_than_its_capacity_is_held_back() {
        let (mut buffer, mut io) = (WriteBuffer::default(), Recorder { most: usize::MAX, ..Recorder::default() });
        for _ in 0..100 {
            write_all(&mut buffer, &mut io, &[7; 1000]);
            assert!(buffer.bytes.len() <= CAPACITY);
        }
    }

    #[test]
    fn bytes_keep_their_order_through_short_writes() {
        let (mut buffer, mut io) = (WriteBuffer::default(), Recorder { most: 700, ..Recorder::default() });
        let sent: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for (at, chunk) in sent.chunks(4099).enumerate() {
            write_all(&mut buffer, &mut io, chunk);
            if at % 5 == 0 {
                drain(&mut buffer, &mut io);
            }
        }
        write_all(&mut buffer, &mut io, &sent);
        drain(&mut buffer, &mut io);
        assert_eq!(io.writes.concat(), [sent.clone(), sent].concat());
    }

    #[test]
    fn a_released_buffer_holds_no_memory() {
        let (mut buffer, mut io) = (WriteBuffer::default(), Recorder { most: usize::MAX, ..Recorder::default() });
        write_all(&mut buffer, &mut io, b"response");
        drain(&mut buffer, &mut io);
        buffer.release();
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[test]
    fn bytes_come_to_rest_when_nothing_is_added_between_two_looks() {
        let mut buffer = WriteBuffer::default();
        assert!(!buffer.has_come_to_rest() && !buffer.has_come_to_rest());
        buffer.push(b"head");
        assert!(!buffer.has_come_to_rest());
        buffer.push(b"body");
        assert!(!buffer.has_come_to_rest() && buffer.has_come_to_rest());
    }
}
