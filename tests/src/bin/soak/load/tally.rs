//! What the clients have seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::histogram::Histogram;
use crate::order::{Count, Failure, Tick};

/// How many failures are told word by word between two reports.
const EXAMPLES: usize = 5;

/// Figures that all clients add to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    seen: Mutex<Seen>,
    open: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Seen {
    tick: Tick,
    full: Histogram,
    resumed: Histogram,
    all_full: Histogram,
    all_resumed: Histogram,
}

/// An open connection, until dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicU64>);

impl Tally {
    /// Counts one.
    pub(crate) fn count(&self, what: Count) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).tick.counts.entry(what).or_default() += 1;
    }

    /// Counts a failure, and keeps the words of the first ones.
    pub(crate) fn fail(&self, what: Failure, why: impl FnOnce() -> String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.tick.failures.entry(what).or_default() += 1;
        if seen.tick.examples.len() < EXAMPLES {
            seen.tick.examples.push(why());
        }
    }

    /// A handshake has succeeded.
    pub(crate) fn handshake(&self, resumed: bool, took: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if resumed {
            seen.resumed.record(took);
            seen.all_resumed.record(took);
        } else {
            seen.full.record(took);
            seen.all_full.record(took);
        }
        let count = if resumed { Count::ResumedHandshakes } else { Count::FullHandshakes };
        *seen.tick.counts.entry(count).or_default() += 1;
    }

    /// Counts a connection as open until what this yields is dropped.
    pub(crate) fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.open))
    }

    /// A report; the next one begins.
    pub(crate) fn tick(&self) -> Tick {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = Tick {
            full: std::mem::take(&mut seen.full).quantiles(),
            resumed: std::mem::take(&mut seen.resumed).quantiles(),
            all_full: seen.all_full.quantiles(),
            all_resumed: seen.all_resumed.quantiles(),
            open: self.open.load(Ordering::Relaxed),
            ..seen.tick.clone()
        };
        seen.tick.examples.clear();
        tick
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_totals_and_the_latencies_since_the_last_one() {
        let tally = Tally::default();
        tally.handshake(false, Duration::from_millis(3));
        tally.fail(Failure::Handshake, || "refused".to_owned());
        let first = tally.tick();
        assert_eq!((first.full.count, first.failed(Failure::Handshake), first.examples.len()), (1, 1, 1));
        let second = tally.tick();
        assert_eq!((second.full.count, second.all_full.count, second.examples.len()), (0, 1, 0));
        assert_eq!((second.count(Count::FullHandshakes), second.failed(Failure::Handshake)), (1, 1));
    }

    #[test]
    fn a_connection_is_open_until_dropped() {
        let tally = Tally::default();
        let open = tally.open();
        assert_eq!(tally.tick().open, 1);
        drop(open);
        assert_eq!(tally.tick().open, 0);
    }
}
