//! Stalls: a peer that takes nothing of what waits for it.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::overload::Pressure;

/// Time between two looks at a stall: memory may have become short since, or something was taken. A stall is cut short, or
/// prolonged, by this much at most.
const LOOK: Duration = Duration::from_secs(5);

/// The time for which a client may take nothing of what waits for it; shorter while memory is short.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    stall: Duration,
    pressure: Pressure,
}

impl Patience {
    pub(super) fn new(stall: Duration, pressure: Pressure) -> Self {
        Self { stall, pressure }
    }

    fn now(&self) -> Duration {
        self.pressure.write_stall(self.stall)
    }
}

/// Measures a stall. Costs nothing until there is one.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Option<Instant>,
    deadline: Deadline,
}

impl Stall {
    /// Something was taken, or nothing waits.
    pub(super) fn clear(&mut self) {
        self.since = None;
    }

    /// Returns when nothing has been taken for as long as `patience` lasts; polled while something waits.
    pub(super) fn poll(&mut self, patience: &Patience, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            let (now, end) = (Instant::now(), since + patience.now());
            if now >= end {
                return Poll::Ready(());
            }
            ready!(self.deadline.poll(end.min(now + LOOK), cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_is_shorter_while_memory_is_short_even_if_the_stall_began_before() {
        let pressure = Pressure::new();
        let (patience, mut stall) = (Patience::new(Duration::from_secs(60), pressure.clone()), Stall::default());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(12)).await;
            pressure.set(crate::overload::Stage::Shrink);
        });
        let began = Instant::now();
        poll_fn(|cx| stall.poll(&patience, cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_measured_from_what_was_taken_last() {
        let patience = Patience::new(Duration::from_secs(60), Pressure::new());
        let (mut stall, began) = (Stall::default(), Instant::now());
        for _ in 0..3 {
            tokio::select! {
                () = poll_fn(|cx| stall.poll(&patience, cx)) => unreachable!("something was taken in time"),
                () = tokio::time::sleep(Duration::from_secs(50)) => stall.clear(),
            }
        }
        poll_fn(|cx| stall.poll(&patience, cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(210));
    }
}
