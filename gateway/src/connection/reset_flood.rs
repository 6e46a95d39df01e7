//! Rapid reset (CVE-2023-44487): streams that are opened only to be cancelled cost the client nothing and us a request.

use super::frame::Kind;

/// After this many streams the account is settled: more than half of them cancelled is abuse, else counting starts
/// anew. The rule is Envoy's (`overload.premature_reset_total_stream_count`), without its clock.
const ACCOUNT: u32 = 500;

/// Counts the streams that a client opens and cancels.
#[derive(Debug, Default)]
pub(super) struct ResetCounter {
    last_stream: u32,
    opened: u32,
    cancelled: u32,
}

impl ResetCounter {
    /// A frame has come; false when the client cancels more than it uses.
    pub(super) fn received(&mut self, kind: Kind, stream: u32) -> bool {
        match kind {
            Kind::Headers if stream > self.last_stream => {
                self.last_stream = stream;
                self.opened += 1;
            }
            Kind::RstStream => self.cancelled += 1,
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

    #[test]
    fn a_client_that_cancels_most_streams_is_cut_off() {
        assert!(!is_served(1_000, 1_000));
    }

    #[test]
    fn a_client_that_cancels_now_and_then_is_served_for_ever() {
        assert!(is_served(20_000, 200));
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
