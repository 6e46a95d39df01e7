//! A client's connection, which a fault can reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::reply::Body;

/// What a request can do to the connection that it came on.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    resets: Arc<AtomicBool>,
    ends: CancellationToken,
}

impl Connection {
    /// A connection that ends when this token is cancelled.
    pub(super) fn new(ends: CancellationToken) -> Self {
        Self { resets: Arc::default(), ends }
    }

    /// Resets the connection; never comes back, because whoever waits goes with it.
    pub(super) async fn reset<T>(&self) -> T {
        self.reset_now();
        std::future::pending().await
    }

    fn reset_now(&self) {
        self.resets.store(true, Ordering::SeqCst);
        self.ends.cancel();
    }

    /// A body that ends in a reset after so many bytes.
    pub(super) fn reset_after(&self, body: Body, bytes: u64) -> Body {
        let state = (body, bytes, self.clone());
        let pieces = stream::unfold(state, |(mut body, left, connection)| async move {
            if left == 0 {
                return connection.reset().await;
            }
            let Ok(Ok(mut data)) = body.frame().await?.map(Frame::into_data) else { return None };
            data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - data.len() as u64;
            Some((Ok(Frame::data(data)), (body, left, connection)))
        });
        BodyExt::boxed_unsync(StreamBody::new(pieces))
    }

    /// The token that ends the connection.
    pub(super) fn ends(&self) -> &CancellationToken {
        &self.ends
    }

    /// The stream of this connection.
    pub(super) fn over(&self, stream: TcpStream) -> Resettable {
        Resettable { stream, resets: Arc::clone(&self.resets) }
    }
}

/// A stream whose end is a reset (RST) where the connection says so, and an orderly end (FIN) otherwise.
#[derive(Debug)]
pub(super) struct Resettable {
    stream: TcpStream,
    resets: Arc<AtomicBool>,
}

impl Resettable {
    fn is_reset(&self) -> bool {
        self.resets.load(Ordering::SeqCst)
    }
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.is_reset() {
            // A socket that is gone already needs no reset.
            let _best_effort = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
