//! What a miss costs: how long handshakes waited for certificates that were not there.

use std::time::Duration;

/// Buckets for each doubling; a quantile is within a fifth.
const PER_DOUBLING: usize = 4;
/// The upper bound of the first bucket.
const LEAST: Duration = Duration::from_micros(16);
/// Up to 67 s.
const BUCKETS: usize = 22 * PER_DOUBLING + 1;

/// Times, most of which were measured lately.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    counts: [f64; BUCKETS],
    count: f64,
    seconds: f64,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { counts: [0.0; BUCKETS], count: 0.0, seconds: 0.0 }
    }

    pub(super) fn record(&mut self, wait: Duration) {
        self.counts[bucket(wait)] += 1.0;
        self.count += 1.0;
        self.seconds += wait.as_secs_f64();
    }

    /// All that was measured so far counts less from now on.
    pub(super) fn fade(&mut self, factor: f64) {
        self.counts.iter_mut().for_each(|count| *count *= factor);
        self.count *= factor;
        self.seconds *= factor;
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        (self.count > 0.0).then(|| Duration::from_secs_f64(self.seconds / self.count))
    }

    /// The time that this share of the waits did not exceed.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let all: f64 = self.counts.iter().sum();
        let mut passed = 0.0;
        let bucket = self.counts.iter().position(|count| {
            passed += *count;
            *count > 0.0 && passed >= all * share
        })?;
        Some(LEAST.mul_f64((bucket as f64 / PER_DOUBLING as f64).exp2()))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and some hundred")]
fn bucket(wait: Duration) -> usize {
    let doublings = (wait.as_secs_f64() / LEAST.as_secs_f64()).max(1.0).log2();
    ((doublings * PER_DOUBLING as f64).ceil() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_fifth() {
        let mut waits = Waits::new();
        assert_eq!((waits.mean(), waits.quantile(0.5)), (None, None));
        (1..=1000).for_each(|millis| waits.record(Duration::from_millis(millis)));
        for share in [0.01, 0.5, 0.99] {
            let (real, told) = (share, waits.quantile(share).unwrap().as_secs_f64());
            assert!((real..real * 1.2).contains(&told), "{share}: {told}");
        }
        let mean = waits.mean().unwrap().as_secs_f64();
        assert!((mean - 0.5005).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn what_was_measured_long_ago_counts_less() {
        let mut waits = Waits::new();
        (0..100).for_each(|_| waits.record(Duration::from_secs(10)));
        waits.fade(1.0 / 1024.0);
        (0..100).for_each(|_| waits.record(Duration::from_millis(1)));
        assert!(waits.quantile(0.99).unwrap() < Duration::from_millis(2));
    }
}
