//! Times by their order of magnitude: each bucket is 1/16 of an octave, so that a percentile is right within 5 %.

use std::time::Duration;

use crate::order::Quantiles;

/// Buckets of an octave.
const STEPS: f64 = 16.0;

/// From one microsecond up to more than an hour.
const BUCKETS: usize = 32 * 16;

/// How often times of each magnitude were seen.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Adds a time.
    pub(crate) fn record(&mut self, time: Duration) {
        let micros = (time.as_secs_f64() * 1e6).max(1.0);
        // Between 0 and 511 by construction; what is longer counts as an hour.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the logarithm of at least 1 is small"
        )]
        let bucket = (micros.log2() * STEPS) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(time);
    }

    /// Percentiles of what was added.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |share: f64| self.at(share);
        Quantiles {
            count: self.count,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max.as_secs_f64() * 1e3,
        }
    }

    /// The time in milliseconds below which this share is.
    fn at(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil();
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen > 0 && seen as f64 >= wanted {
                return ((bucket as f64 + 0.5) / STEPS).exp2() / 1e3;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_five_percent() {
        let mut histogram = Histogram::default();
        for millis in 1..=1_000 {
            histogram.record(Duration::from_millis(millis));
        }
        let quantiles = histogram.quantiles();
        for (got, wanted) in [(quantiles.p50, 500.0), (quantiles.p99, 990.0), (quantiles.max, 1_000.0)] {
            assert!((got / wanted - 1.0_f64).abs() < 0.05, "{got} instead of {wanted}");
        }
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let quantiles = Histogram::default().quantiles();
        assert!(quantiles.count == 0 && quantiles.p99.abs() < f64::EPSILON);
    }
}
