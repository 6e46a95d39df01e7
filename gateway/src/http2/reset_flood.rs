//! Rapid reset (CVE-2023-44487): streams that are opened only to be cancelled cost the client nothing and us a request.
//!
//! A stream that was open for a while before it is cancelled has cost the client the while, and is how many a client ends what
//! has no other end: calls that stream from the server, requests that take too long.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Kind;

/// After this many streams the account is settled: more than half of them cancelled too soon is abuse, else counting starts
/// anew. The rule is Envoy's (`overload.premature_reset_total_stream_count`).
const ACCOUNT: u32 = 500;

/// A stream may be cancelled at this age, and is not counted any more (Envoy's
/// `overload.premature_reset_min_stream_lifetime_seconds`).
const GROWN: Duration = Duration::from_secs(1);

/// How finely ages are known.
const TICK: Duration = Duration::from_millis(250);

/// Those until a stream is grown, and the one that goes on.
const TICKS: usize = 5;

const _: () = assert!(TICK.as_millis() * (TICKS as u128 - 1) == GROWN.as_millis(), "ticks make up the age");

/// Counts the streams that a client opens, and those it cancels right away.
#[derive(Debug)]
pub(super) struct ResetCounter {
    last_stream: u32,
    opened: u32,
    cancelled: u32,
    ages: Ages,
}

impl Default for ResetCounter {
    fn default() -> Self {
        Self { last_stream: 0, opened: 0, cancelled: 0, ages: Ages::new() }
    }
}

impl ResetCounter {
    /// A frame has come; false when the client cancels more than it uses.
    pub(super) fn received(&mut self, kind: Kind, stream: u32) -> bool {
        match kind {
            Kind::Headers if stream > self.last_stream => {
                self.last_stream = stream;
                self.ages.opened(stream);
                self.opened += 1;
            }
            Kind::RstStream if !self.ages.is_grown(stream) => self.cancelled += 1,
            _ => return true,
        }
        self.settle()
    }

    fn settle(&mut self) -> bool {
        if self.opened < ACCOUNT && self.cancelled < ACCOUNT {
            return true;
        }
        let abusive = self.cancelled > self.opened / 2;
        (self.opened, self.cancelled) = (0, 0);
        !abusive
    }
}

/// Which streams are at least [`GROWN`] old, and at most a [`TICK`] more.
///
/// Streams are numbered in the order in which they are opened (RFC 9113 §5.1.1), so the newest of each tick tells, however
/// many there are.
#[derive(Debug)]
struct Ages {
    began: Instant,
    /// Since it began.
    tick: u64,
    /// The newest stream of each of the last ticks; zero if there was none.
    newest: [u32; TICKS],
    /// The newest of those before.
    grown: u32,
}

impl Ages {
    fn new() -> Self {
        Self { began: Instant::now(), tick: 0, newest: [0; TICKS], grown: 0 }
    }

    /// This one has just been opened.
    fn opened(&mut self, stream: u32) {
        self.advance();
        self.newest[slot(self.tick)] = stream;
    }

    fn is_grown(&mut self, stream: u32) -> bool {
        self.advance();
        stream <= self.grown
    }

    fn advance(&mut self) {
        let now = u64::try_from(self.began.elapsed().as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        // After a long pause, each slot once.
        for tick in (self.tick + 1..=now).take(TICKS) {
            let newest = std::mem::take(&mut self.newest[slot(tick)]);
            self.grown = self.grown.max(newest);
        }
        self.tick = now;
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % TICKS as u64).expect("a remainder is smaller than what it is the remainder of")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client is served that opens `streams`, of which it resets `cancelled` in a thousand.
    fn is_served(streams: u32, cancelled: u32) -> bool {
        let mut counter = ResetCounter::default();
        (0..streams).all(|n| {
            counter.received(Kind::Headers, 2 * n + 1)
                && counter.received(Kind::Data, 2 * n + 1)
                && (n % 1000 >= cancelled || counter.received(Kind::RstStream, 2 * n + 1))
        })
    }

    /// Whether a client is served that opens a hundred streams a second, and cancels each `after` so many milliseconds.
    async fn is_served_when_it_cancels_all(after: u32) -> bool {
        let mut counter = ResetCounter::default();
        for n in 0..5_000_u32 {
            tokio::time::advance(Duration::from_millis(10)).await;
            let cancelled = n.checked_sub(after / 10).is_none_or(|n| counter.received(Kind::RstStream, 2 * n + 1));
            if !cancelled || !counter.received(Kind::Headers, 2 * n + 1) {
                return false;
            }
        }
        true
    }

    #[test]
    fn a_client_that_cancels_most_streams_is_cut_off() {
        assert!(!is_served(1_000, 1_000));
    }

    #[test]
    fn a_client_that_cancels_now_and_then_is_served_for_ever() {
        assert!(is_served(20_000, 200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_streams_all_end_by_cancel_is_served_for_ever_if_they_had_lasted() {
        assert!(is_served_when_it_cancels_all(1_250).await);
        assert!(is_served_when_it_cancels_all(30_000).await);
        assert!(!is_served_when_it_cancels_all(900).await);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_grow_up_in_a_second_also_where_nothing_else_happens() {
        let mut ages = Ages::new();
        ages.opened(1);
        assert!(!ages.is_grown(1));
        tokio::time::advance(GROWN + TICK).await;
        assert!(ages.is_grown(1));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        ages.opened(3);
        assert!(ages.is_grown(1) && !ages.is_grown(3));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(ages.is_grown(3) && !ages.is_grown(5));
    }

    #[test]
    fn resets_without_streams_are_counted_too() {
        let mut counter = ResetCounter::default();
        assert!(!(0..ACCOUNT).all(|_| counter.received(Kind::RstStream, 1)));
    }

    #[test]
    fn trailers_open_no_stream() {
        let mut counter = ResetCounter::default();
        assert!((0..3).all(|_| counter.received(Kind::Headers, 1)));
        assert_eq!(counter.opened, 1);
    }
}
