//! How often the server may be asked: a token bucket, and a pause that the server asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Turns left; below zero where turns to come have been handed out.
    tokens: f64,
    counted: Instant,
    not_before: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        let now = Instant::now();
        let (per_second, burst) = (per_second.max(0.1), burst.max(1.0));
        let state = State { tokens: burst, counted: now, not_before: now };
        Self { per_second, burst, state: Mutex::new(state) }
    }

    /// Waits for a turn. A turn that is dropped while it waits is lost.
    pub(crate) async fn take(&self) {
        let at = self.reserve();
        sleep_until(at).await;
        loop {
            let not_before = self.state.lock().unwrap_or_else(PoisonError::into_inner).not_before;
            if not_before <= Instant::now() {
                return;
            }
            sleep_until(not_before).await;
        }
    }

    /// Nobody gets a turn before then.
    pub(crate) fn pause_until(&self, until: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.not_before = state.not_before.max(until);
    }

    fn reserve(&self) -> Instant {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(state.counted).as_secs_f64() * self.per_second;
        state.tokens = (state.tokens + earned).min(self.burst) - 1.0;
        state.counted = now;
        now + Duration::from_secs_f64((-state.tokens / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_rate_holds() {
        let rate = Rate::new(10.0, 5.0);
        let begun = Instant::now();
        for _ in 0..5 {
            rate.take().await;
        }
        assert!(begun.elapsed() < Duration::from_millis(5), "{:?}", begun.elapsed());
        for _ in 0..10 {
            rate.take().await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone() {
        let rate = Rate::new(10.0, 5.0);
        let begun = Instant::now();
        rate.pause_until(begun + Duration::from_secs(7));
        rate.take().await;
        assert!(begun.elapsed() >= Duration::from_secs(7));
    }
}
