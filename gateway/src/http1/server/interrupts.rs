//! Calls that end an idle connection.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::connection::{Closed, Watches};
use crate::drain::Phase;
use crate::overload::{Call, Pressure};

/// Calls to leave, listened to for as long as a connection lives: a request costs no registration.
pub(super) struct Interrupts<'a> {
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    called: Pin<Box<dyn Future<Output = Call> + Send + 'a>>,
    pressure: &'a Pressure,
    number: usize,
}

impl<'a> Interrupts<'a> {
    /// Creates the calls of a connection with this `number` of its own.
    pub(super) fn new(watches: &'a Watches, number: usize) -> Self {
        let mut drain = watches.drain.clone();
        let closing = Box::pin(async move {
            // An error means that nobody can start a drain any more.
            if drain.wait_for(|phase| *phase >= Phase::Closing).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let pressure = &watches.pressure;
        Self { closing, called: Box::pin(pressure.called(number)), pressure, number }
    }

    /// Returns the reason for which a connection that has been idle since `since` ends.
    pub(super) fn poll(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<Closed> {
        // The connection ends with it: it is not polled again.
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Closed::Drained);
        }
        while let Poll::Ready(call) = self.called.as_mut().poll(cx) {
            self.called = Box::pin(self.pressure.called(self.number));
            if since.elapsed() >= call.idle_at_least() {
                return Poll::Ready(Closed::Overload);
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Interrupts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupts").field("number", &self.number).finish_non_exhaustive()
    }
}
