//! Handshakes that wait for a load: counted, bounded, and answered together.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Outcome, Shared};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::metrics::Metrics;
use crate::secret::SecretRef;

use super::flights::Purpose;

/// What asking for a certificate came to.
pub(super) enum Joined {
    Cached(Arc<Certificate>),
    Waiting(Waiter),
}

/// One handshake's place in the queue; given back on drop.
pub(super) struct Waiter {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Waiter {
    /// Waits for the load, for no longer than a handshake may. A load that is late says nothing about the Secret.
    pub(super) async fn outcome(mut self, secret: &SecretRef) -> Outcome {
        let after = self.shared.limits.load_deadline;
        let Ok(outcome) = timeout(after, self.outcome.wait_for(Option::is_some)).await else {
            let error = CertError::Deadline { secret: secret.clone(), after };
            Metrics::reject(&error);
            return Err(error);
        };
        match outcome.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The load's end of the channel is gone without a word.
            Ok(None) | Err(_) => Err(CertError::Abandoned { secret: secret.clone() }),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Relaxed);
        self.shared.metrics.waiting.decrement(1.0);
    }
}

impl Shared {
    /// Joins the load of `secret`, or starts it.
    pub(super) fn join(self: &Arc<Self>, secret: &SecretRef, server_name: &str) -> Result<Joined, CertError> {
        let runtime = self.runtime();
        let mut desk = self.desk();
        // It may have come between the lookup and the lock.
        if let Some(certificate) = self.cache.peek(secret) {
            return Ok(Joined::Cached(self.hit(certificate)));
        }
        self.metrics.misses.increment();
        if let Some(error) = desk.refusals.current(secret, Instant::now()) {
            self.metrics.refused_hits.increment();
            return Err(error);
        }
        let underway = desk.flights.subscribe(secret);
        let waiting = self.waiting.load(Relaxed);
        let is_full = underway.is_none() && desk.flights.len() >= self.limits.waiting;
        if waiting >= self.limits.waiting || is_full {
            let error = CertError::Overloaded { secret: secret.clone(), waiting };
            Metrics::reject(&error);
            return Err(error);
        }
        let outcome = underway.unwrap_or_else(|| self.start(&mut desk, runtime, secret, server_name, Purpose::Miss));
        self.waiting.fetch_add(1, Relaxed);
        self.metrics.waiting.increment(1.0);
        Ok(Joined::Waiting(Waiter { shared: Arc::clone(self), outcome }))
    }
}
