//! The receiving half of a stream: what has come of a body and has not been read yet, in little more memory than its bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;

use super::fields;
use crate::exchange::side::CHUNK;
use crate::ledger::{Account, Kind, Reservation};
use crate::message::Fields;

/// Frames from this size on are kept as they came. Each keeps the buffer that it was read into, of 8 KiB or of its own size;
/// smaller ones are copied: `h2` needs 250 bytes for each, besides the buffer.
const WHOLE: usize = 4 * 1024;

/// Bytes by which the memory of what waits is reserved.
const STEP: usize = 16 * 1024;

/// The body of a message as it comes, and its trailers.
///
/// The peer's window bounds it: it is opened again for bytes that have been handed out. Where there is an account, what waits is
/// reserved there as well, and dropped with an error if it cannot be.
#[derive(Debug)]
pub(super) struct Incoming<E> {
    /// Kept to the last byte: it opens the windows. `None` if nothing more is received.
    stream: Option<RecvStream>,
    has_ended: bool,
    pieces: VecDeque<Bytes>,
    /// What has come after the last piece.
    tail: Vec<u8>,
    trailers: Option<Fields>,
    error: Option<E>,
    to_error: fn(&h2::Error) -> E,
    memory: Option<Memory<E>>,
}

/// The memory of what waits of one body.
#[derive(Debug)]
struct Memory<E> {
    account: Arc<Account>,
    reservation: Option<Reservation>,
    /// Bytes that wait.
    waiting: usize,
    /// The error of a stream for which there is none.
    shortage: E,
}

impl<E> Memory<E> {
    /// Reserves room for `bytes` more.
    fn add(&mut self, bytes: usize) -> bool {
        self.waiting += bytes;
        let reserved = self.reservation.as_ref().map_or(0, Reservation::bytes);
        let Some(missing) = (self.waiting as u64).checked_sub(reserved).filter(|missing| *missing > 0) else {
            return true;
        };
        let step = missing.max(STEP as u64);
        if let Some(reservation) = &mut self.reservation {
            return reservation.try_grow(step).is_ok();
        }
        self.reservation = self.account.try_reserve(Kind::Request, step).ok();
        self.reservation.is_some()
    }

    fn remove(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes);
        if self.waiting == 0 {
            self.reservation = None;
        }
    }
}

impl<E: Copy> Incoming<E> {
    pub(super) fn new(stream: RecvStream, to_error: fn(&h2::Error) -> E) -> Self {
        Self {
            stream: Some(stream),
            has_ended: false,
            pieces: VecDeque::new(),
            tail: Vec::new(),
            trailers: None,
            error: None,
            to_error,
            memory: None,
        }
    }

    /// Reserves what waits in `account`. A stream for which there is no memory fails with `shortage`.
    pub(super) fn within(self, account: Arc<Account>, shortage: E) -> Self {
        Self { memory: Some(Memory { account, reservation: None, waiting: 0, shortage }), ..self }
    }

    /// Yields the next bytes, at most [`CHUNK`]; `None` after the last. Small frames that have come are joined.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, E>> {
        if let Some(data) = self.next() {
            return Poll::Ready(Ok(Some(data)));
        }
        let first = loop {
            match ready!(self.poll_frame(cx)) {
                Some(data) if data.is_empty() => {}
                Some(data) => break data,
                None => return Poll::Ready(self.error.map_or(Ok(None), Err)),
            }
        };
        let data = if first.len() < WHOLE { self.join(first, cx) } else { first };
        self.release(data.len());
        Poll::Ready(Ok(Some(data)))
    }

    /// Yields bytes that [`absorb`](Self::absorb) has taken in; `None` if there are none, `Err` after the last of them if the
    /// stream has failed.
    pub(super) fn take_data(&mut self) -> Result<Option<Bytes>, E> {
        match (self.next(), self.error) {
            (Some(data), _) => Ok(Some(data)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// Takes what has come from `h2`, so that it holds none of it. Returns when the stream is at its end; `cx` is woken when
    /// more comes.
    pub(super) fn absorb(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(data) = ready!(self.poll_frame(cx)) {
            self.keep(data);
        }
        Poll::Ready(())
    }

    /// Returns `true` if bytes wait that can be read, or the end does.
    pub(super) fn is_readable(&self) -> bool {
        !self.pieces.is_empty() || !self.tail.is_empty() || self.has_ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn error(&self) -> Option<E> {
        self.error
    }

    pub(super) fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// The next frame in the hands of `h2`; `None` after the last.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.has_ended) else { return Poll::Ready(None) };
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(data)),
            Some(Err(error)) => self.error = Some((self.to_error)(&error)),
            None => match ready!(stream.poll_trailers(cx)) {
                Ok(trailers) => self.trailers = trailers.map(|map| fields::of_trailers(&map)),
                Err(error) => self.error = Some((self.to_error)(&error)),
            },
        }
        self.has_ended = true;
        Poll::Ready(None)
    }

    /// Joins the frames behind a small one to it.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut joined = Vec::new();
        while let Poll::Ready(Some(data)) = self.poll_frame(cx) {
            if joined.len().max(first.len()) + data.len() > CHUNK || data.len() >= WHOLE {
                self.keep(data);
                break;
            }
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        if joined.is_empty() { first } else { joined.into() }
    }

    fn keep(&mut self, data: Bytes) {
        if let Some(memory) = &mut self.memory
            && !memory.add(memory_of(&data))
        {
            self.error = Some(memory.shortage);
            self.has_ended = true;
            // What still comes is dropped as well.
            self.stream = None;
            (self.pieces, self.tail) = (VecDeque::new(), Vec::new());
            memory.remove(usize::MAX);
            return;
        }
        let is_whole = data.len() >= WHOLE;
        if is_whole || self.tail.len() + data.len() > CHUNK {
            self.close_tail();
        }
        if is_whole {
            self.pieces.push_back(data);
        } else {
            self.tail.extend_from_slice(&data);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            tail.shrink_to_fit();
            self.pieces.push_back(tail.into());
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close_tail();
        }
        let data = self.pieces.pop_front()?;
        if let Some(memory) = &mut self.memory {
            memory.remove(memory_of(&data));
        }
        self.release(data.len());
        Some(data)
    }

    fn release(&mut self, bytes: usize) {
        if let Some(stream) = &mut self.stream {
            // An error: the stream is closed, and its window with it.
            let _ = stream.flow_control().release_capacity(bytes);
        }
    }
}

/// Returns the bytes of memory that a piece holds: one that is kept as it came holds its buffer.
fn memory_of(data: &Bytes) -> usize {
    if data.len() >= WHOLE { data.len().max(2 * WHOLE) } else { data.len() }
}
