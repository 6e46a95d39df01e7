//! How long to wait before trying again.

use std::time::Duration;

/// Doubling waits, each shortened by up to a half, so that a thousand clients of a server that comes back spread over the wait
/// (Brooker, "Exponential Backoff And Jitter").
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The next wait, counted as a failure.
    pub(crate) fn fail(&mut self) -> Duration {
        let most = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        jittered(most)
    }

    /// How often it has failed since it worked.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between half of a wait and all of it.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for most in [1, 2, 4, 8, 10, 10] {
            let wait = backoff.fail();
            assert!(wait <= Duration::from_secs(most) && wait >= Duration::from_secs(most) / 2, "{wait:?} of {most} s");
        }
        backoff.reset();
        assert!(backoff.fail() <= Duration::from_secs(1));
    }

    #[test]
    fn a_hundred_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        assert!((0..100).map(|_| backoff.fail()).all(|wait| wait <= Duration::from_secs(30)));
    }
}
