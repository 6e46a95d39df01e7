//! The stream that is handed to pingora, and what it adds to TCP or TLS.
//!
//! Bytes that were read while waiting for a request come first; writes are coalesced on HTTP/1.1; a header has a limit
//! and a deadline; a client that doesn't read its response is given up.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora_core::protocols::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::bodies;
use super::digests::Digests;
use super::frame::{Alarm, FrameWatch, PREFACE};
use super::header_phase::{HeaderFault, HeaderGate, HeaderPhase};
use super::request_head::RequestHead;
use super::socket::Socket;
use super::write_buffer::WriteBuffer;
use super::{Closed, Settings};

/// Enough for the header of most requests, so that one read serves both the wait and the parser.
const FIRST_READ: usize = 4096;

/// What is below the stream.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A downstream connection as pingora sees it.
pub(crate) struct Downstream {
    io: Transport,
    ahead: BytesMut,
    out: WriteBuffer,
    header: HeaderPhase,
    http2: Option<Box<FrameWatch>>,
    write_stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    pub(super) digests: Digests,
}

impl Downstream {
    pub(crate) fn new(io: Transport, digests: Digests, settings: &Settings) -> Self {
        Self {
            io,
            ahead: BytesMut::new(),
            out: WriteBuffer::default(),
            header: HeaderPhase::new(settings.header_limit as usize, settings.header_timeout),
            http2: None,
            write_stall: settings.write_stall_timeout,
            stalled: None,
            digests,
        }
    }

    /// From here on the connection is HTTP/2. Nothing more is read of a client that raises the alarm: it is to be told so.
    pub(super) fn begin_http2(&mut self) -> Arc<Alarm> {
        let alarm = Arc::default();
        let mut frames = FrameWatch::new(Arc::clone(&alarm));
        // A few kilobytes are no flood yet; if they are one for all that, the alarm is raised.
        let _ = frames.accept(&self.ahead);
        self.http2 = Some(Box::new(frames));
        alarm
    }

    /// A request is about to be read; its header is timed from here. `held` is what pingora has of it.
    pub(super) fn begin_request(&mut self, held: Option<RequestHead>) -> HeaderGate {
        self.header.begin(held, &self.ahead)
    }

    /// Refuses a request whose header is faulty as far as it has come; true if so, and then nothing else may follow.
    pub(super) async fn refuse_header(&mut self) -> bool {
        let Err(fault) = self.header.check_form() else { return false };
        let _ = self.refuse(fault);
        self.shutdown().await;
        true
    }

    /// Whether bytes were read that nobody has consumed.
    pub(super) fn has_bytes(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Waits for bytes and keeps them for the next read; false if the client has closed.
    ///
    /// Holds no buffer while it waits. Dropped, it has read nothing that is lost.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        self.out.release();
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.ahead.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!buf.filled().is_empty()))
    }

    /// Whether the client speaks HTTP/2 without having said so in TLS (RFC 9113 §3.3); reads as little as it takes to tell.
    pub(super) async fn is_http2_preface(&mut self) -> io::Result<bool> {
        loop {
            let count = self.ahead.len().min(PREFACE.len());
            if self.ahead[..count] != PREFACE[..count] {
                return Ok(false);
            }
            if count == PREFACE.len() {
                return Ok(true);
            }
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }

    /// Reads and discards what the client still sends, up to `limit` bytes.
    pub(super) async fn discard(&mut self, limit: usize) {
        match &mut self.io {
            Transport::Plain(socket) => socket.discard(limit).await,
            Transport::Tls(tls) => tls.get_mut().0.discard(limit).await,
        }
    }

    fn poll_read_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.http2.as_ref().is_some_and(|frames| frames.is_alarmed()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if let Some(frames) = &mut self.http2
            && !frames.accept(&buf.filled()[before..])
        {
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_header(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Err(fault) = self.header.check_size() {
            return Poll::Ready(Err(self.refuse(fault)));
        }
        let before = buf.filled().len();
        match self.poll_read_io(cx, buf) {
            Poll::Pending => match self.header.check_time(cx) {
                Err(fault) => Poll::Ready(Err(self.refuse(fault))),
                Ok(()) => Poll::Pending,
            },
            Poll::Ready(result) => {
                self.header.received(&buf.filled()[before..]);
                match self.header.check_form() {
                    Err(fault) => Poll::Ready(Err(self.refuse(fault))),
                    Ok(()) => Poll::Ready(result),
                }
            }
        }
    }

    /// Puts the refusal into the write buffer; pingora closes the connection after an error, which sends it.
    fn refuse(&mut self, fault: HeaderFault) -> io::Error {
        fault.reason().count();
        self.out.push(fault.response());
        io::Error::new(io::ErrorKind::TimedOut, fault.reason().as_str())
    }

    /// Passes on the result of a write; one that makes no progress for too long becomes an error.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let patience = self.write_stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Closed::WriteStalled.count();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read what it is sent")))
    }

    fn count_sent(&mut self, result: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = result else { return };
        match &mut self.http2 {
            Some(frames) => frames.sent(*bytes),
            None => bodies::written(*bytes),
        }
    }

    /// Sends what is held back when a response pauses.
    ///
    /// pingora flushes a response of known length at its end only. While it waits for more of it, it waits for the client as
    /// well: if that happens twice without a write in between, the upstream has paused. (Once is not enough, as the next part
    /// may be there already.)
    fn pass_on(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.out.has_come_to_rest() {
            if let Poll::Ready(result) = self.poll_flush_all(cx) {
                return result;
            }
        } else if !self.out.is_empty() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.out.poll_drain(cx, &mut self.io))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Plain(socket) => socket.as_raw_fd(),
            Self::Tls(tls) => tls.get_ref().0.as_raw_fd(),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let count = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        if this.http2.is_none() && this.header.is_active() {
            return this.poll_read_header(cx, buf);
        }
        let result = this.poll_read_io(cx, buf);
        if result.is_pending() {
            this.pass_on(cx)?;
        }
        result
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = match this.http2 {
            Some(_) => Pin::new(&mut this.io).poll_write(cx, buf),
            None => this.out.poll_write(cx, &mut this.io, buf),
        };
        this.count_sent(&result);
        this.watch_stall(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.http2.is_some() {
            let result = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
            this.count_sent(&result);
            return this.watch_stall(cx, result);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.http2.is_some()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.poll_flush_all(cx);
        self.watch_stall(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_flush_all(cx);
        ready!(self.watch_stall(cx, drained))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl AsRawFd for Downstream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream").field("connection", &self.digests.facts().connection).finish_non_exhaustive()
    }
}
