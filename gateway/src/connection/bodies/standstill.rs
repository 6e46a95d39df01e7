//! Requests of which nothing is taken any more: after a moment they may be called to make way, after longer they end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::{Accounts, Bodies, To};
use crate::overload::{Ended, Stalled};

/// A request of which nothing is taken for this long stands still: it is given up before others if too much waits.
const STILL: Duration = Duration::from_secs(1);

/// Between two looks at a request that stands still.
const LOOK: Duration = Duration::from_secs(5);

/// How long a client may take nothing while memory is short.
pub(crate) const SHORT_STALL: Duration = Duration::from_secs(10);

/// Timers of pingora and of the stream come first: then there is an error that is answered and logged.
const GRACE: Duration = Duration::from_secs(1);

/// Sees when nothing of a request is taken any more.
#[derive(Debug)]
pub(super) struct Standstill {
    stall: Duration,
    /// As often something had been taken.
    taken: u64,
    since: Option<Instant>,
    /// Set for the next look.
    timer: Option<Pin<Box<Sleep>>>,
    place: Option<Stalled>,
}

impl Standstill {
    /// A client may take nothing for `stall`.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, taken: 0, since: None, timer: None, place: None }
    }

    /// Ready when the request is to end.
    pub(super) fn poll(&mut self, bodies: &Arc<Bodies>, cx: &mut Context<'_>) -> Poll<Ended> {
        if !bodies.is_waiting() {
            (self.since, self.place) = (None, None);
            return Poll::Pending;
        }
        let taken = bodies.taken.load(Relaxed);
        if taken != self.taken {
            (self.taken, self.since) = (taken, None);
            if self.place.take().is_some() {
                // It is set for a look that is not due any more.
                self.timer = None;
            }
        }
        if let Err(ended) = bodies.count(bodies.size()) {
            return Poll::Ready(ended);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        while self.poll_timer(since + STILL, cx).is_ready() {
            let still = since.elapsed();
            if bodies.waiting(To::Client) > 0 && still >= self.patience(&bodies.accounts) {
                return Poll::Ready(Ended::Stalled);
            }
            let next = if still < STILL {
                since + STILL
            } else {
                self.place.get_or_insert_with(|| bodies.accounts.pressure.buffers().stalled(since, taken > 0));
                Instant::now() + LOOK
            };
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(next);
            }
        }
        if self.place.as_ref().is_some_and(|place| place.is_called(cx)) {
            return Poll::Ready(Ended::LongestStalled);
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, first: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(first))).as_mut().poll(cx)
    }

    fn patience(&self, accounts: &Accounts) -> Duration {
        let stall = if accounts.is_short() { self.stall.min(SHORT_STALL) } else { self.stall };
        stall + GRACE
    }
}
