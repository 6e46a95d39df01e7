//! A bound on the rate at which the attacker reopens connections and streams.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Turns, evenly spaced, in the order in which they are asked for.
#[derive(Debug)]
pub(super) struct Pace {
    between: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// Creates turns at this rate a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { between: Duration::from_secs(1) / rate.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn. A turn is lost when the future is dropped.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.between;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_evenly_spaced_and_none_are_saved_up() {
        let pace = Pace::new(10);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let began = Instant::now();
        for _ in 0..11 {
            pace.turn().await;
        }
        assert_eq!(began.elapsed().as_millis(), 1_000);
    }
}
