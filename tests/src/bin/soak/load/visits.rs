//! Whether a full handshake found its certificate in the gateway's cache: as far as the load can know.
//!
//! It makes all handshakes that there are. The first one with a service has its certificate loaded, for certain; one that
//! comes a few seconds after another finds it cached, unless the cache is so small that what was just used is gone. Of the
//! others, which may have been evicted, nothing is said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tally::Kind;

/// A certificate that was used so short a time ago is taken to be cached.
const RECENT: Duration = Duration::from_secs(5);

/// When each service was last visited.
#[derive(Debug)]
pub(crate) struct Visits {
    began: Instant,
    /// Milliseconds from the beginning to the end of the last handshake, and one more; 0 if there was none.
    last: Vec<AtomicU64>,
}

impl Visits {
    /// Nobody has visited any of so many services.
    pub(crate) fn new(services: usize) -> Self {
        let mut last = Vec::new();
        last.resize_with(services, AtomicU64::default);
        Self { began: Instant::now(), last }
    }

    /// What a full handshake is that begins now.
    pub(crate) fn kind(&self, number: usize) -> Kind {
        self.kind_at(number, self.millis())
    }

    /// A handshake with a service has succeeded, be it resumed: the gateway looks its certificate up before it knows.
    pub(crate) fn visited(&self, number: usize) {
        if let Some(last) = self.last.get(number) {
            last.store(self.millis() + 1, Ordering::Relaxed);
        }
    }

    fn kind_at(&self, number: usize, now: u64) -> Kind {
        let recent = u64::try_from(RECENT.as_millis()).unwrap_or(u64::MAX);
        match self.last.get(number).map_or(0, |last| last.load(Ordering::Relaxed)) {
            0 => Kind::Miss,
            last if now.saturating_sub(last - 1) < recent => Kind::Hit,
            _ => Kind::Unknown,
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_visit_misses_one_soon_after_hits_and_of_a_late_one_nobody_knows() {
        let visits = Visits::new(2);
        assert_eq!(visits.kind(1), Kind::Miss);
        visits.visited(1);
        assert_eq!(visits.kind(1), Kind::Hit);
        assert_eq!(visits.kind_at(1, visits.millis() + 6_000), Kind::Unknown);
        assert_eq!(visits.kind(0), Kind::Miss);
    }
}
