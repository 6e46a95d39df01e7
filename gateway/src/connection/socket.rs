//! The TCP socket below TLS and HTTP: bytes that were read too early in front, and a budget for what may be read.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection whose reads can be limited while the client is still a stranger.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    ahead: Bytes,
    budget: Option<usize>,
}

impl Socket {
    /// Wraps `tcp`; reads yield `ahead` first.
    pub fn new(tcp: TcpStream, ahead: Bytes) -> Self {
        Self { tcp, ahead, budget: None }
    }

    /// From now on reading fails once `budget` bytes were read; a single read may go past it. `None` lifts the limit.
    pub fn set_read_budget(&mut self, budget: Option<usize>) {
        self.budget = budget;
    }

    /// Whether the read budget is used up.
    pub fn is_over_budget(&self) -> bool {
        self.budget == Some(0)
    }

    /// Waits until there is something to read; false if the client has closed instead.
    pub async fn readable(&self) -> io::Result<bool> {
        // A peek: `TcpStream::readable` may say so without anything there.
        Ok(!self.ahead.is_empty() || self.tcp.peek(&mut [0]).await? > 0)
    }

    /// Returns when the connection is known to be broken. Reads nothing.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        // No system call while nothing has come since the last read that found less than it had room for.
        ready!(self.tcp.poll_read_ready(cx)).map_or(Poll::Ready(()), |()| {
            match self.tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
                Poll::Ready(Err(_)) => Poll::Ready(()),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
            }
        })
    }

    /// Sets `SO_RCVBUF`: what the kernel keeps of what the client sends while nobody reads it. The kernel takes twice as much
    /// for its own bookkeeping.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) {
        // It fails on no TCP socket; if it did, the kernel's own limit would hold.
        let _ = socket2::SockRef::from(&self.tcp).set_recv_buffer_size(bytes);
    }

    /// Makes the kernel send RST when the socket is dropped.
    pub(crate) fn reset_on_drop(&self) {
        // An error means that there is no connection any more.
        let _ = self.tcp.set_zero_linger();
    }

    /// Reads and discards until the client closes, fails, or `limit` bytes are gone.
    ///
    /// Closing a socket with unread bytes makes the kernel send RST, and the client may lose the response it was sent.
    pub async fn discard(&mut self, limit: usize) {
        use tokio::io::AsyncReadExt;
        let mut scratch = [0; 2048];
        let mut left = limit;
        while left > 0 {
            match self.tcp.read(&mut scratch).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_over_budget() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more bytes than a handshake may take",
            )));
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
        } else {
            let count = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
        }
        if let Some(budget) = &mut this.budget {
            *budget = budget.saturating_sub(buf.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
