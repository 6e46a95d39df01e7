//! Bodies under way: how much of them waits for somebody who does not take it, and who is given up when that is too much.
//!
//! Requests report what waits ([`Buffers::change`]); the monitor says how much may ([`Buffers::set_limits`]). A request that
//! makes it too much is not to blame for it: of those that have stood still for a while the one that did for longest ends,
//! those of which nothing was ever taken before the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use metrics::{Counter, counter};
use tokio::time::Instant;

/// Why a request was ended whose body was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its client took nothing for too long.
    Stalled,
    /// Too much waits, and nothing of its body was taken for longest.
    LongestStalled,
    /// Too much waits, nobody stands still, and it asked for more.
    OverLimit,
}

impl Ended {
    const ALL: [Self; 3] = [Self::Stalled, Self::LongestStalled, Self::OverLimit];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::LongestStalled => "longest_stalled",
            Self::OverLimit => "over_limit",
        }
    }
}

/// Who is ended above how many bytes. Rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The one that stood still for longest.
    pub(super) stalled: u64,
    /// If nobody stands still: one that asks for more while nothing of it was taken yet.
    pub(super) fresh: u64,
    /// If nobody stands still: whoever asks for more.
    pub(super) all: u64,
}

/// A request of which something was taken makes way this long after the last time: a socket with a large buffer takes
/// something every few seconds only from a writer whose reader is slow.
const SLOW: Duration = Duration::from_secs(5);

/// Those that stand still, in the order in which they end: first those of which nothing was ever taken, then by when they
/// began to. A number tells them apart.
type Place = (bool, Instant, u64);

/// How much waits in all, and for whom.
pub(crate) struct Buffers {
    /// In bytes.
    held: AtomicU64,
    limits: [AtomicU64; 3],
    stalled: Mutex<BTreeMap<Place, Arc<Call>>>,
    numbers: AtomicU64,
    ended: [Counter; Ended::ALL.len()],
}

impl Buffers {
    /// Nothing waits, and any amount may.
    pub(super) fn new() -> Self {
        let ended = |why: Ended| counter!("postern_overload_ended_total", "reason" => why.as_str());
        Self {
            held: AtomicU64::new(0),
            limits: [u64::MAX; 3].map(AtomicU64::new),
            stalled: Mutex::default(),
            numbers: AtomicU64::new(0),
            ended: Ended::ALL.map(ended),
        }
    }

    /// Bytes that wait, at most.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// From now on these hold.
    pub(super) fn set_limits(&self, limits: Limits) {
        for (place, bytes) in self.limits.iter().zip([limits.stalled, limits.fresh, limits.all]) {
            place.store(bytes, Relaxed);
        }
    }

    /// A request for which `before` bytes were counted has `now`; `is_taken` if something of its bodies was taken already. If
    /// that is too much, another one is ended, or else this one is to end.
    pub(crate) fn change(&self, before: u64, now: u64, is_taken: bool) -> Result<(), Ended> {
        if now <= before {
            self.held.fetch_sub(before - now, Relaxed);
            return Ok(());
        }
        let held = self.held.fetch_add(now - before, Relaxed) + (now - before);
        let [stalled, fresh, all] = self.limits.each_ref().map(|limit| limit.load(Relaxed));
        let most = if is_taken { all } else { fresh };
        if held <= stalled || self.call_longest_stalled() || held <= most {
            return Ok(());
        }
        Err(Ended::OverLimit)
    }

    /// Counts a request that ended so.
    pub(crate) fn count(&self, ended: Ended) {
        self.ended[ended as usize].increment(1);
    }

    /// A request stands still since then; `is_taken` as above.
    pub(crate) fn stalled(self: &Arc<Self>, since: Instant, is_taken: bool) -> Stalled {
        let key = (is_taken, since, self.numbers.fetch_add(1, Relaxed));
        let call = Arc::new(Call::default());
        self.lock().insert(key, Arc::clone(&call));
        Stalled { buffers: Arc::clone(self), key, call }
    }

    /// False if nobody stands still that makes way.
    fn call_longest_stalled(&self) -> bool {
        let mut stalled = self.lock();
        let Some(first) = stalled.first_entry() else { return false };
        let &(was_taken, since, _) = first.key();
        if was_taken && since.elapsed() < SLOW {
            return false;
        }
        let call = first.remove();
        drop(stalled);
        call.is_called.store(true, Relaxed);
        call.waker.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Call>>> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers").field("held", &self.held).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Call {
    is_called: AtomicBool,
    waker: AtomicWaker,
}

/// A request that stands still, until dropped.
#[derive(Debug)]
pub(crate) struct Stalled {
    buffers: Arc<Buffers>,
    key: Place,
    call: Arc<Call>,
}

impl Stalled {
    /// Whether it is to end; the task is woken when it is.
    pub(crate) fn is_called(&self, cx: &Context<'_>) -> bool {
        self.call.waker.register(cx.waker());
        self.call.is_called.load(Relaxed)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.buffers.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_called(stalled: &Stalled) -> bool {
        stalled.is_called(&Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn above_the_limit_the_one_that_stood_still_for_longest_ends() {
        let buffers = Arc::new(Buffers::new());
        buffers.set_limits(Limits { stalled: 100, fresh: 100, all: 100 });
        let now = Instant::now();
        let stalled = |seconds, is_taken| buffers.stalled(now - Duration::from_secs(seconds), is_taken);
        let [newer, oldest] = [2, 3].map(|seconds| stalled(seconds, false));
        drop(stalled(9, false));
        assert_eq!(buffers.change(0, 100, false), Ok(()));
        assert!(!is_called(&oldest));
        assert_eq!(buffers.change(100, 101, false), Ok(()));
        assert_eq!((is_called(&oldest), is_called(&newer)), (true, false));
        assert_eq!(buffers.change(0, 1, true), Ok(()));
        assert!(is_called(&newer));
        assert_eq!(buffers.change(0, 1, true), Err(Ended::OverLimit));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_ends_after_those_of_which_nothing_was_taken_and_makes_way_later() {
        let buffers = Arc::new(Buffers::new());
        buffers.set_limits(Limits { stalled: 100, fresh: 100, all: 1_000 });
        assert_eq!(buffers.change(0, 101, true), Ok(()));
        let slow = buffers.stalled(Instant::now(), true);
        tokio::time::advance(SLOW / 2).await;
        let hoard = buffers.stalled(Instant::now(), false);
        assert_eq!(buffers.change(0, 1, false), Ok(()));
        assert_eq!((is_called(&hoard), is_called(&slow)), (true, false));
        assert_eq!(buffers.change(0, 1, false), Err(Ended::OverLimit));
        tokio::time::advance(SLOW / 2).await;
        assert_eq!(buffers.change(0, 1, false), Ok(()));
        assert!(is_called(&slow));
    }

    #[test]
    fn where_nobody_stands_still_those_end_first_of_which_nothing_was_taken() {
        let buffers = Arc::new(Buffers::new());
        buffers.set_limits(Limits { stalled: 100, fresh: 200, all: 300 });
        assert_eq!(buffers.change(0, 200, false), Ok(()));
        assert_eq!(buffers.change(0, 1, false), Err(Ended::OverLimit));
        assert_eq!(buffers.change(0, 99, true), Ok(()));
        assert_eq!(buffers.change(0, 1, true), Err(Ended::OverLimit));
        // One that gets smaller is never in the way.
        assert_eq!(buffers.change(200, 199, false), Ok(()));
        assert_eq!(buffers.held(), 300);
    }
}
