//! Bodies of one request and its answer: what waits to be taken, by the client or the endpoint, and what becomes of a
//! request of which nothing is taken any more.
//!
//! pingora reads ahead of a client that is slow: of what was read, some is being written, as much waits in a queue behind
//! it, and a part is in the reader. Only the first of these passes our filters; [`BEHIND`] stands for the others. What is
//! being written is counted until it has been: for HTTP/1.1 as the connection says, else by what parts of it are left.

mod standstill;

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::overload::{Ended, Pressure, Stage};

pub(crate) use standstill::SHORT_STALL;
use standstill::Standstill;

/// Smaller parts are counted for clients of HTTP/2 alone, who can let any number of requests wait on a connection; of others
/// they wait in buffers that are there anyway.
const LEAST: usize = 4 * 1024;

/// What a request holds while something of it waits: its state, and a connection to the endpoint with buffers.
/// Measured are 41 KiB, 4 of them in the kernel.
const HELD: u64 = 48 * 1024;

/// What may come of a body of which a part waits already: pingora's queue of four, one on its way into it and one being read,
/// 64 KiB each, and 256 KiB in the kernel.
const BEHIND: u64 = (6 * 64 + 256) * 1024;

/// Bytes above which a connection has no more patience with its streams than there is while memory is short.
const CONNECTION_LIMIT: u64 = 8 * 1024 * 1024;

tokio::task_local! {
    /// Of the request that this task serves.
    static SCOPE: Scope;
}

struct Scope {
    accounts: Accounts,
    /// Since parts were handed on last.
    has_written: Cell<bool>,
    /// Made for the first part that is counted.
    bodies: OnceCell<Arc<Bodies>>,
}

/// Who counts what waits.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) pressure: Pressure,
    /// Bytes of all streams of an HTTP/2 connection.
    pub(super) connection: Option<Arc<AtomicU64>>,
}

impl Accounts {
    fn change(&self, before: u64, now: u64, is_taken: bool) -> Result<(), Ended> {
        if let Some(held) = &self.connection {
            // It wraps around, and back.
            held.fetch_add(now.wrapping_sub(before), Relaxed);
        }
        self.pressure.buffers().change(before, now, is_taken)
    }

    /// Whether there is reason to be impatient.
    fn is_short(&self) -> bool {
        let is_full = |held: &Arc<AtomicU64>| held.load(Relaxed) > CONNECTION_LIMIT;
        self.pressure.stage() > Stage::Calm || self.connection.as_ref().is_some_and(is_full)
    }
}

/// Where a part of a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Client,
    Endpoint,
}

#[derive(Debug)]
struct Bodies {
    accounts: Accounts,
    /// Bytes, by [`To`].
    waiting: [AtomicU64; 2],
    /// Whether nothing comes after what waits.
    is_last: [AtomicBool; 2],
    /// How often something was taken.
    taken: AtomicU64,
    /// Bytes that the whole gateway counts for these.
    counted: AtomicU64,
}

impl Bodies {
    fn new(accounts: Accounts) -> Self {
        Self {
            accounts,
            waiting: Default::default(),
            is_last: Default::default(),
            taken: AtomicU64::new(0),
            counted: AtomicU64::new(0),
        }
    }

    fn waiting(&self, to: To) -> u64 {
        self.waiting[to as usize].load(Relaxed)
    }

    fn is_waiting(&self) -> bool {
        self.waiting(To::Client) + self.waiting(To::Endpoint) > 0
    }

    /// Bytes that are held at most.
    fn size(&self) -> u64 {
        let of = |to: To| match self.waiting(to) {
            0 => 0,
            waiting if self.is_last[to as usize].load(Relaxed) => waiting,
            waiting => waiting + BEHIND,
        };
        if self.is_waiting() { HELD + of(To::Client) + of(To::Endpoint) } else { 0 }
    }

    fn count(&self, now: u64) -> Result<(), Ended> {
        let before = self.counted.swap(now, Relaxed);
        if before == now { Ok(()) } else { self.accounts.change(before, now, self.taken.load(Relaxed) > 0) }
    }

    /// So many bytes that waited were taken.
    fn take(&self, to: To, bytes: u64) {
        // Of HTTP/1.1, headers and frames of chunks are taken too.
        let less = |waiting: u64| Some(waiting.saturating_sub(bytes));
        let _ = self.waiting[to as usize].fetch_update(Relaxed, Relaxed, less);
        self.taken.fetch_add(1, Relaxed);
        if !self.is_waiting() {
            // It only gets smaller.
            let _ = self.count(0);
        }
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        // It only gets smaller.
        let _ = self.count(0);
    }
}

/// A part of a body that counts until it is dropped.
struct Part {
    bytes: Bytes,
    to: To,
    bodies: Arc<Bodies>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.bodies.take(self.to, self.bytes.len() as u64);
    }
}

/// A part of a body is about to be written; it counts until it is.
pub(crate) fn hand_on(to: To, body: &mut Option<Bytes>, is_last: bool) {
    // Without a scope: a request that came by another way than our listeners.
    let _ = SCOPE.try_with(|scope| {
        let length = body.as_ref().map_or(0, Bytes::len);
        let least = if to == To::Client && !scope.copies() { 1 } else { LEAST };
        if length >= least {
            let bodies = scope.bodies.get_or_init(|| Arc::new(Bodies::new(scope.accounts.clone())));
            let waiting = &bodies.waiting[to as usize];
            if to == To::Client && scope.copies() {
                // What came before has been written, or this would not be here.
                let before = if scope.has_written.replace(false) { 0 } else { waiting.load(Relaxed) };
                waiting.store(before + length as u64, Relaxed);
            } else {
                waiting.fetch_add(length as u64, Relaxed);
                *body = body.take().map(|bytes| Bytes::from_owner(Part { bytes, to, bodies: Arc::clone(bodies) }));
            }
        }
        if let Some(bodies) = scope.bodies.get() {
            bodies.is_last[to as usize].store(is_last, Relaxed);
        }
    });
}

/// A client of HTTP/1.1 has taken so many bytes of what this task sends it.
pub(super) fn written(bytes: usize) {
    // Without a scope: a connection between two requests.
    let _ = SCOPE.try_with(|scope| {
        scope.has_written.set(true);
        if let Some(bodies) = scope.bodies.get() {
            bodies.take(To::Client, bytes as u64);
        }
    });
}

/// Serves a request, unless what waits of it has to be given up. A client may take nothing for `stall`.
pub(super) async fn watch<F: Future>(accounts: Accounts, stall: Duration, serving: F) -> Result<F::Output, Ended> {
    let scope = Scope { accounts, has_written: Cell::new(false), bodies: OnceCell::new() };
    let watched = async move {
        let mut serving = pin!(serving);
        let mut standstill = Standstill::new(stall);
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(output) => {
                SCOPE.with(Scope::leave);
                Poll::Ready(Ok(output))
            }
            Poll::Pending => SCOPE.with(|scope| scope.poll(&mut standstill, cx)).map(Err),
        })
        .await
    };
    SCOPE.scope(scope, watched).await
}

impl Scope {
    /// Whether pingora copies parts before it writes them, so that their end says nothing: for HTTP/1.1.
    fn copies(&self) -> bool {
        self.accounts.connection.is_none()
    }

    /// The request has ended; parts of its answer may wait in the connection.
    fn leave(&self) {
        if let Some(bodies) = self.bodies.get().filter(|bodies| bodies.counted.load(Relaxed) > 0) {
            // It only gets smaller.
            let _ = bodies.count(bodies.waiting(To::Client));
        }
    }

    /// Ready when the request is to end.
    fn poll(&self, standstill: &mut Standstill, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(bodies) = self.bodies.get() else { return Poll::Pending };
        let polled = standstill.poll(bodies, cx);
        if let Poll::Ready(reason) = polled {
            tracing::debug!(?reason, "given up what waits of a request");
            self.accounts.pressure.buffers().count(reason);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const STALL: Duration = Duration::from_secs(60);
    const LENGTH: usize = 64 * 1024;
    const PART: u64 = LENGTH as u64;

    fn http2() -> Accounts {
        Accounts { pressure: Pressure::new(), connection: Some(Arc::default()) }
    }

    fn http1() -> Accounts {
        Accounts { pressure: Pressure::new(), connection: None }
    }

    /// A part, handed on.
    fn part(to: To, is_last: bool) -> Option<Bytes> {
        let mut body = Some(Bytes::from(vec![7; LENGTH]));
        hand_on(to, &mut body, is_last);
        assert!(body.as_ref().is_some_and(|body| body.len() == LENGTH && body[0] == 7));
        body
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_when_its_client_takes_nothing_and_gives_back_what_it_held() {
        let accounts = http2();
        let (buffers, connection) = (Arc::clone(accounts.pressure.buffers()), accounts.connection.clone().unwrap());
        let serving = async {
            let _waits = part(To::Client, false);
            sleep(Duration::from_secs(1)).await;
            assert_eq!((buffers.held(), connection.load(Relaxed)), (HELD + PART + BEHIND, HELD + PART + BEHIND));
            pending::<()>().await;
        };
        let begun = Instant::now();
        assert_eq!(watch(accounts, STALL, serving).await, Err(Ended::Stalled));
        assert!(begun.elapsed() > STALL && begun.elapsed() < STALL * 2);
        assert_eq!((buffers.held(), connection.load(Relaxed)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_whose_parts_are_taken_now_and_then_and_one_whose_endpoint_pauses() {
        let slow = async {
            for _ in 0..10 {
                let waits = part(To::Client, false);
                sleep(STALL / 2).await;
                drop(waits);
            }
        };
        assert_eq!(watch(http2(), STALL, slow).await, Ok(()));
        let upload = async {
            let _waits = part(To::Endpoint, true);
            sleep(STALL * 10).await;
        };
        assert_eq!(watch(http2(), STALL, upload).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_holds_much_has_less_patience() {
        let accounts = http2();
        accounts.connection.as_ref().unwrap().store(CONNECTION_LIMIT, Relaxed);
        let serving = async {
            let _waits = part(To::Client, true);
            pending::<()>().await;
        };
        let begun = Instant::now();
        assert_eq!(watch(accounts, STALL, serving).await, Err(Ended::Stalled));
        assert!(begun.elapsed() < STALL / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn of_http1_what_was_written_counts_no_more() {
        let accounts = http1();
        let buffers = Arc::clone(accounts.pressure.buffers());
        let serving = async {
            for _ in 0..2 {
                // Copied, as pingora does with two at a time.
                drop((part(To::Client, false), part(To::Client, true)));
                sleep(Duration::from_secs(1)).await;
                assert_eq!(buffers.held(), HELD + 2 * PART);
                written(LENGTH);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(buffers.held(), HELD + PART);
                // With a header and frames of chunks.
                written(LENGTH + 300);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(buffers.held(), 0);
            }
        };
        assert_eq!(watch(accounts, STALL, serving).await, Ok(()));
    }
}
