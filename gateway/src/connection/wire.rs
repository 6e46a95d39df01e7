//! The byte stream of a downstream connection, TLS or not, with the bytes that were read ahead in front.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::transport::Transport;

/// Enough for the header of most requests, so that one read serves both the wait and the parser.
const FIRST_READ: usize = 4096;

/// Time for which a closed connection is read, so that the client receives what it was sent last.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are read and discarded meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// A downstream byte stream. While it waits for its first byte it holds no buffer.
#[derive(Debug)]
pub(crate) struct Wire {
    io: Transport,
    ahead: BytesMut,
}

impl Wire {
    pub(crate) fn new(io: Transport) -> Self {
        Self { io, ahead: BytesMut::new() }
    }

    /// Returns the bytes that were read and not consumed.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes the bytes that were read and not consumed.
    pub(crate) fn take_ahead(&mut self) -> BytesMut {
        std::mem::take(&mut self.ahead)
    }

    /// Waits for bytes and keeps them for the next read; `false` if the client has closed.
    ///
    /// Holds no buffer while it waits. Dropped, it has read nothing that is lost.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        let mut space = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.ahead.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// Returns when the connection is known to be broken; a client that has only shut down its sending half is there.
    ///
    /// Reads nothing. Bytes or an end that wait to be read hide a reset behind them: a write finds it.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.io {
            Transport::Plain(socket) => socket.poll_gone(cx),
            Transport::Tls(tls) => tls.get_mut().0.poll_gone(cx),
        }
    }

    /// Sets the kernel's receive buffer; see [`Socket::set_receive_buffer`](super::Socket::set_receive_buffer).
    pub(crate) fn set_receive_buffer(&self, bytes: usize) {
        let socket = match &self.io {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        socket.set_receive_buffer(bytes);
    }

    /// Makes the kernel send RST when the connection is dropped, with what has not been sent yet discarded.
    pub(crate) fn reset_on_drop(&self) {
        let socket = match &self.io {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        socket.reset_on_drop();
    }

    /// Sends `close_notify` on TLS and shuts the socket down; then reads for a moment, so that the last bytes arrive:
    /// closing a socket with unread bytes makes the kernel send RST, and the client may lose its response.
    pub(crate) async fn close(&mut self) {
        let close = async {
            if self.shutdown().await.is_ok() {
                match &mut self.io {
                    Transport::Plain(socket) => socket.discard(LINGER_BYTES).await,
                    Transport::Tls(tls) => tls.get_mut().0.discard(LINGER_BYTES).await,
                }
            }
        };
        // An error or the end of the time: either way the connection is dropped.
        let _ = tokio::time::timeout(LINGER, close).await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}
