//! What the clients have seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::order::{Count, Failure, Latencies, Sign, Tick, Trouble};

/// How many failures are told word by word between two reports.
const EXAMPLES: usize = 8;

/// Failures are dated to this.
const SLOT: Duration = Duration::from_millis(250);

/// Figures that all clients add to.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    seen: Mutex<Seen>,
    open: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<Count, u64>,
    troubles: BTreeMap<(u32, Failure, Sign), Alike>,
    full: Both,
    hit: Both,
    miss: Both,
    resumed: Both,
}

/// Failures of one kind in one slot of time.
#[derive(Debug)]
struct Alike {
    count: u64,
    words: Option<String>,
}

/// Times since the last report, and since the start.
#[derive(Debug, Default)]
struct Both {
    now: Histogram,
    all: Histogram,
}

/// How a handshake came by its session or certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Resumed,
    /// Full, with a certificate that was cached.
    Hit,
    /// Full, with a certificate that had to be loaded.
    Miss,
    /// Full, with a certificate that was cached or not.
    Unknown,
}

/// An open connection, until dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicU64>);

impl Tally {
    /// Nothing has been seen.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seen: Mutex::default(), open: Arc::default() }
    }

    /// Counts one.
    pub(crate) fn count(&self, what: Count) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).counts.entry(what).or_default() += 1;
    }

    /// Counts a failure, and keeps the words of the first ones.
    pub(crate) fn fail(&self, what: Failure, sign: Sign, why: impl FnOnce() -> String) {
        let slot = self.slot();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Their number is bounded by the slots between two reports.
        let told = seen.troubles.values().filter(|alike| alike.words.is_some()).count();
        let alike = seen.troubles.entry((slot, what, sign)).or_insert(Alike { count: 0, words: None });
        alike.count += 1;
        if alike.words.is_none() && told < EXAMPLES {
            alike.words = Some(why());
        }
    }

    /// A handshake has succeeded.
    pub(crate) fn handshake(&self, kind: Kind, took: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match kind {
            Kind::Resumed => {
                seen.resumed.record(took);
                Count::ResumedHandshakes
            }
            Kind::Hit | Kind::Miss | Kind::Unknown => {
                seen.full.record(took);
                match kind {
                    Kind::Hit => seen.hit.record(took),
                    Kind::Miss => seen.miss.record(took),
                    Kind::Resumed | Kind::Unknown => {}
                }
                Count::FullHandshakes
            }
        };
        *seen.counts.entry(count).or_default() += 1;
    }

    /// Counts a connection as open until what this yields is dropped.
    pub(crate) fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.open))
    }

    /// A report; the next one begins.
    pub(crate) fn tick(&self) -> Tick {
        let elapsed = self.began.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let troubles = std::mem::take(&mut seen.troubles).into_iter().map(|((slot, failure, sign), alike)| Trouble {
            failure,
            sign,
            millis_ago: u64::try_from(elapsed.saturating_sub(SLOT * slot).as_millis()).unwrap_or(u64::MAX),
            count: alike.count,
            words: alike.words,
        });
        Tick {
            troubles: troubles.collect(),
            full: seen.full.take(),
            hit: seen.hit.take(),
            miss: seen.miss.take(),
            resumed: seen.resumed.take(),
            all: Latencies {
                full: seen.full.all.quantiles(),
                hit: seen.hit.all.quantiles(),
                miss: seen.miss.all.quantiles(),
                resumed: seen.resumed.all.quantiles(),
            },
            open: self.open.load(Ordering::Relaxed),
            counts: seen.counts.clone(),
        }
    }

    /// The slot of time that it is now.
    fn slot(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis() / SLOT.as_millis()).unwrap_or(u32::MAX)
    }
}

impl Both {
    fn record(&mut self, took: Duration) {
        self.now.record(took);
        self.all.record(took);
    }

    fn take(&mut self) -> crate::order::Quantiles {
        std::mem::take(&mut self.now).quantiles()
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
        let tally = Tally::new();
        tally.handshake(Kind::Miss, Duration::from_millis(3));
        tally.handshake(Kind::Resumed, Duration::from_millis(1));
        let first = tally.tick();
        assert_eq!((first.full.count, first.miss.count, first.hit.count, first.resumed.count), (1, 1, 0, 1));
        let second = tally.tick();
        assert_eq!((second.full.count, second.all.full.count, second.all.miss.count), (0, 1, 1));
        assert_eq!((second.count(Count::FullHandshakes), second.count(Count::ResumedHandshakes)), (1, 1));
    }

    #[test]
    fn failures_are_told_apart_by_what_they_looked_like_and_are_reported_once() {
        let tally = Tally::new();
        for _ in 0..1_000 {
            tally.fail(Failure::Handshake, Sign::Closed, || "closed".to_owned());
            tally.fail(Failure::Handshake, Sign::Other, || "refused".to_owned());
        }
        let troubles = tally.tick().troubles;
        for (sign, words) in [(Sign::Closed, "closed"), (Sign::Other, "refused")] {
            let of_sign = || troubles.iter().filter(|trouble| trouble.sign == sign);
            assert_eq!(of_sign().map(|trouble| trouble.count).sum::<u64>(), 1_000);
            assert_eq!(of_sign().find_map(|trouble| trouble.words.as_deref()), Some(words));
            assert!(of_sign().all(|trouble| trouble.millis_ago < 60_000));
        }
        assert!(tally.tick().troubles.is_empty());
    }

    #[test]
    fn a_connection_is_open_until_dropped() {
        let tally = Tally::new();
        let open = tally.open();
        assert_eq!(tally.tick().open, 1);
        drop(open);
        assert_eq!(tally.tick().open, 0);
    }
}
