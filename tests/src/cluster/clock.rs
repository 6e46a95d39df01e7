//! The cluster's time, which may run faster than ours and be wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Simulated time: it starts at the real time and runs `speed` times as fast.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    epoch: Timestamp,
    speed: f64,
    skew_seconds: AtomicI64,
}

impl Clock {
    /// A clock that starts now; a speed that isn't positive and finite counts as 1.
    pub fn new(speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { started: Instant::now(), epoch: Timestamp::now(), speed, skew_seconds: AtomicI64::new(0) }
    }

    /// Simulated time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().mul_f64(self.speed)
    }

    /// When a simulated time since the start comes.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.started + self.real(elapsed)
    }

    /// How long a simulated duration really takes.
    pub fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.speed)
    }

    /// What the API server believes the time is.
    pub fn now(&self) -> Timestamp {
        let skew = SignedDuration::from_secs(self.skew_seconds.load(Ordering::Relaxed));
        let elapsed = SignedDuration::try_from(self.elapsed()).unwrap_or_default();
        self.epoch.checked_add(elapsed).and_then(|now| now.checked_add(skew)).unwrap_or(self.epoch)
    }

    /// Makes the API server's clock wrong by this many seconds: `Date`, `creationTimestamp`, `deletionTimestamp`.
    pub fn set_skew_seconds(&self, seconds: i64) {
        self.skew_seconds.store(seconds, Ordering::Relaxed);
    }

    /// [`Self::now`] as metadata has it: RFC 3339, whole seconds.
    pub fn metadata_time(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// [`Self::now`] as a Lease has it: RFC 3339 with microseconds.
    pub fn micro_time(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_passes_in_a_second_at_3600_times_the_speed() {
        let clock = Clock::new(3_600.0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(3_600));
        assert_eq!(clock.real(Duration::from_secs(7_200)), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_skewed_clock_is_wrong_by_that_much() {
        let clock = Clock::new(1.0);
        let right = clock.now();
        clock.set_skew_seconds(-90);
        assert_eq!(right.duration_since(clock.now()), SignedDuration::from_secs(90));
    }
}
