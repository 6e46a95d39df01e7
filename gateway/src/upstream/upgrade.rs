//! Connections for requests that ask for an upgrade.
//!
//! pingora hands the end of a request to its upstream half through a queue, and that half reads the answer at the same time.
//! An endpoint that answers 101 before the half has looked into the queue makes the end of the request pass for the end of the
//! upgraded connection, which is closed then. So such a connection has nothing to read for the first moments.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Turns of its task that a connection lets pass before its first read. One is enough unless tokio makes the queue wait.
const TURNS: u8 = 3;

/// Connects for requests that ask for an upgrade.
#[derive(Debug)]
pub(super) struct UpgradeConnect;

#[async_trait]
impl Connect for UpgradeConnect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(inet) = address else { return Err(Error::new_in(ErrorType::InternalError)) };
        let connected = TcpStream::connect(inet).await;
        let tcp = connected.or_err_with(ErrorType::ConnectError, || format!("cannot connect to {inet}"))?;
        Ok(VirtualSocketStream::new(Box::new(Late { inner: tcp, turns: TURNS })).into())
    }
}

/// A connection whose first reads find nothing.
#[derive(Debug)]
struct Late<S> {
    inner: S,
    /// How many reads have yet to find nothing.
    turns: u8,
}

impl<S: AsyncRead + Unpin> AsyncRead for Late<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turns > 0 {
            self.turns -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Late<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl VirtualSocket for Late<TcpStream> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.inner.set_nodelay(true),
            // No other is asked for.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_there_already_is_read_a_few_turns_later() {
        let mut late = Late { inner: &b"101"[..], turns: TURNS };
        let mut buffer = [0; 3];
        for _ in 0..TURNS {
            assert!(futures_util::poll!(std::pin::pin!(late.read(&mut buffer))).is_pending());
        }
        assert_eq!((late.read(&mut buffer).await.unwrap(), &buffer), (3, b"101"));
    }
}
