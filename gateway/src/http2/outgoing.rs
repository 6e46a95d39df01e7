//! The sending half of a stream: one chunk at a time is handed to `h2`, and it is known when it has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use h2::{Reason, SendStream};
use http::HeaderMap;

/// A part of a body in the hands of `h2`: in its queue while the peer's window is shut, or in the frame being written.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    flow: Arc<Flow>,
}

/// What is known of the chunks of a stream.
#[derive(Debug, Default)]
struct Flow {
    /// Chunks in the hands of `h2`.
    inside: AtomicU32,
    /// Bytes that have left.
    taken: AtomicU64,
    task: AtomicWaker,
}

impl Chunk {
    fn new(bytes: Bytes, flow: &Arc<Flow>) -> Self {
        flow.inside.fetch_add(1, Relaxed);
        Self { bytes, flow: Arc::clone(flow) }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.flow.taken.fetch_add(count as u64, Relaxed);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.flow.inside.fetch_sub(1, Relaxed);
        self.flow.task.wake();
    }
}

/// The stream was reset, or its connection is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// The sending half of a stream, after its head.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Chunk>,
    flow: Option<Arc<Flow>>,
    /// The last chunk, held back for the `END_STREAM` flag that may belong to it.
    held: Option<Bytes>,
    has_ended: bool,
    is_gone: bool,
}

impl Outgoing {
    /// `has_ended` says that the head has ended the stream.
    pub(super) fn new(stream: SendStream<Chunk>, has_ended: bool) -> Self {
        Self { stream, flow: None, held: None, has_ended, is_gone: false }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Bytes that have left `h2`; for measuring stalls.
    pub(super) fn taken(&self) -> u64 {
        self.flow.as_ref().map_or(0, |flow| flow.taken.load(Relaxed))
    }

    /// Returns when nothing is in the hands of `h2`, and the peer's window takes a byte at least.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.has_ended {
            // Whoever copies a body goes on to its end, which the stream has had already.
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_flush(cx))?;
        // No more than a byte: what is reserved of the connection's window is taken from other streams.
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn send(&mut self, data: Bytes) {
        self.submit_held();
        self.held = Some(data);
    }

    /// Sends data after which nothing follows.
    pub(super) fn send_last(&mut self, data: Bytes) {
        self.submit_held();
        self.submit(data, true);
    }

    /// Ends the stream.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) {
        if self.has_ended {
            return;
        }
        if let Some(trailers) = trailers {
            self.submit_held();
            self.has_ended = true;
            self.is_gone |= self.stream.send_trailers(trailers).is_err();
        } else {
            let last = self.held.take().unwrap_or_default();
            self.submit(last, true);
        }
    }

    /// Returns when `h2` has passed on what it was handed.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.submit_held();
        if self.is_gone {
            return Poll::Ready(Err(Gone));
        }
        let Some(flow) = &self.flow else { return Poll::Ready(Ok(())) };
        if flow.inside.load(Relaxed) == 0 {
            return Poll::Ready(Ok(()));
        }
        flow.task.register(cx.waker());
        // It may have left before the task was registered.
        if flow.inside.load(Relaxed) == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Returns when the peer has reset the stream.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_gone {
            return Poll::Ready(());
        }
        if self.has_ended {
            // A complete stream is closed, not reset.
            return Poll::Pending;
        }
        self.stream.poll_reset(cx).map(|_| ())
    }

    /// Resets the stream; what `h2` still holds of it is dropped.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.held = None;
        self.has_ended = true;
        self.stream.send_reset(reason);
    }

    fn submit_held(&mut self) {
        if let Some(data) = self.held.take() {
            self.submit(data, false);
        }
    }

    fn submit(&mut self, data: Bytes, is_last: bool) {
        let flow = self.flow.get_or_insert_default();
        let chunk = Chunk::new(data, flow);
        self.has_ended |= is_last;
        self.is_gone |= self.stream.send_data(chunk, is_last).is_err();
    }
}
