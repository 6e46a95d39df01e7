//! The byte stream below `h2`: hands it what came in small portions, so that nothing piles up inside.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Closed;

use super::frame::FrameWatch;
use super::patience::{Patience, Stall};
use super::table::{self, Outcome};

/// What the byte stream and the loop that polls `h2` tell each other.
#[derive(Debug, Default)]
pub(super) struct Gate {
    paused: AtomicBool,
    heard: AtomicBool,
    alarm: OnceLock<Closed>,
}

impl Gate {
    /// Lets reading go on after a pause. Returns `true` if there was one: then there may be more to read, and nothing else
    /// wakes the task for it.
    pub(super) fn resume(&self) -> bool {
        self.paused.swap(false, Relaxed)
    }

    /// Returns `true` if the peer sent anything since this was asked last.
    pub(super) fn take_heard(&self) -> bool {
        self.heard.swap(false, Relaxed)
    }

    /// Returns why the connection is to be closed, if the client attacks.
    pub(super) fn alarm(&self) -> Option<Closed> {
        self.alarm.get().copied()
    }
}

/// A byte stream that is read in portions: `h2` decodes all that it can read, and keeps it until somebody asks.
#[derive(Debug)]
pub(super) struct Paced<S> {
    io: S,
    /// Bytes that were read beyond a pause.
    ahead: Bytes,
    watch: FrameWatch,
    gate: Arc<Gate>,
    /// How long the peer may take no byte; `None` for ever.
    patience: Option<Patience>,
    stall: Stall,
}

impl<S> Paced<S> {
    pub(super) fn new(io: S, watch: FrameWatch, gate: Arc<Gate>, patience: Option<Patience>) -> Self {
        Self { io, ahead: Bytes::new(), watch, gate, patience, stall: Stall::default() }
    }

    /// Passes on the result of a write; one that makes no progress for too long becomes an error.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(patience) = self.patience.as_ref().filter(|_| result.is_pending()) else {
            self.stall.clear();
            return result;
        };
        ready!(self.stall.poll(patience, cx));
        Closed::WriteStalled.count();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read what it is sent")))
    }

    fn count_sent(&mut self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.watch.sent(*bytes);
        }
    }

    /// Takes from `new` what may be passed on. Returns `None` for an attack, of which nothing more is read.
    fn take(&mut self, new: &[u8]) -> Option<usize> {
        match self.watch.take(new) {
            Ok(taken) => {
                self.gate.heard.store(true, Relaxed);
                self.gate.paused.store(taken.pauses, Relaxed);
                Some(taken.bytes)
            }
            Err(reason) => {
                // It is raised once.
                let _ = self.gate.alarm.set(reason);
                None
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Puts what empties the table of fields into the header block that comes next; returns when that is done, or another
    /// frame comes before.
    fn poll_empty_table(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match table::begin_block(&self.ahead) {
                Outcome::Other => return Poll::Ready(Ok(())),
                Outcome::Begun { first, replacement } => {
                    self.watch.table_emptied();
                    self.ahead = [&replacement[..], &self.ahead[first..]].concat().into();
                    return Poll::Ready(Ok(()));
                }
                Outcome::Incomplete => {}
            }
            let mut space = [MaybeUninit::uninit(); table::BEGINNING];
            let mut buf = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead = [&self.ahead, buf.filled()].concat().into();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.gate.paused.load(Relaxed) || this.gate.alarm().is_some() {
            return Poll::Pending;
        }
        if this.watch.empties_table() {
            ready!(this.poll_empty_table(cx))?;
        }
        if !this.ahead.is_empty() {
            let ahead = std::mem::take(&mut this.ahead);
            let Some(bytes) = this.take(&ahead[..ahead.len().min(buf.remaining())]) else { return Poll::Pending };
            buf.put_slice(&ahead[..bytes]);
            if bytes < ahead.len() {
                this.ahead = ahead.slice(bytes..);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        let taken = this.take(new);
        if let Some(bytes) = taken.filter(|bytes| *bytes < new.len()) {
            this.ahead = Bytes::copy_from_slice(&new[bytes..]);
        }
        buf.set_filled(before + taken.unwrap_or(0));
        if taken.is_some() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.count_sent(&result);
        self.watch_stall(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.count_sent(&result);
        self.watch_stall(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.watch_stall(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch_stall(cx, result)
    }
}
