//! Handshakes that wait for a load: counted, bounded, and answered together.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Outcome, Shared};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::fairness::{Answer, ClientKey, Place, Turn};
use crate::metrics::Metrics;
use crate::secret::SecretRef;

use super::flights::Purpose;

/// What asking for a certificate came to.
pub(super) enum Joined {
    Cached(Arc<Certificate>),
    Waiting(Waiter),
    /// It is not the client's turn yet: to be asked again.
    Held(Place),
}

/// One handshake that asks for a certificate which was not cached.
pub(super) struct Asking {
    client: Option<ClientKey>,
    began: Instant,
    /// Where it waits for its turn, if it has to.
    place: Option<Place>,
    is_counted: bool,
}

impl Asking {
    pub(super) fn new(client: Option<ClientKey>) -> Self {
        Self { client, began: Instant::now(), place: None, is_counted: false }
    }
}

/// One handshake's place in the queue; given back on drop.
pub(super) struct Waiter {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Waiter {
    /// Waits for the load, for no longer than a handshake may. A load that is late says nothing about the Secret.
    async fn outcome(mut self, secret: &SecretRef, began: Instant) -> Outcome {
        let after = self.shared.limits.load_deadline;
        let Ok(outcome) = timeout_at(began + after, self.outcome.wait_for(Option::is_some)).await else {
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
    /// Waits for a certificate that was not cached: for its turn to be loaded, and for the load.
    pub(super) async fn ask_for(
        self: &Arc<Self>,
        secret: &SecretRef,
        server_name: &str,
        mut asking: Asking,
    ) -> Outcome {
        let (began, at_most) = (asking.began, self.limits.load_deadline);
        loop {
            let place = match self.join(secret, server_name, &mut asking)? {
                Joined::Cached(certificate) => {
                    self.report_name(&certificate, server_name);
                    return Ok(certificate);
                }
                Joined::Waiting(waiter) => {
                    let certificate = waiter.outcome(secret, began).await?;
                    self.advisor.missed(began.elapsed());
                    self.advisor.refer(secret, certificate.bytes());
                    self.report_name(&certificate, server_name);
                    return Ok(certificate);
                }
                Joined::Held(place) => place,
            };
            let pause = place.pause(began.elapsed(), at_most);
            if began.elapsed() + pause >= at_most {
                return Err(throttled(secret, began));
            }
            sleep(pause).await;
            asking.place = Some(place);
        }
    }

    /// Joins the load of `secret`, or starts it if it is the client's turn.
    fn join(self: &Arc<Self>, secret: &SecretRef, server_name: &str, asking: &mut Asking) -> Result<Joined, CertError> {
        let runtime = self.runtime();
        let mut desk = self.desk();
        // It may have come between the lookup and the lock.
        if let Some(certificate) = self.cache.peek(secret) {
            return Ok(Joined::Cached(self.hit(certificate)));
        }
        if !std::mem::replace(&mut asking.is_counted, true) {
            self.metrics.misses.increment();
        }
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
        let outcome = match underway {
            Some(outcome) => outcome,
            None => match self.turn_of(secret, asking)? {
                Ok(turn) => self.start(&mut desk, runtime, secret, server_name, Purpose::Miss, turn),
                Err(place) => return Ok(Joined::Held(place)),
            },
        };
        self.waiting.fetch_add(1, Relaxed);
        self.metrics.waiting.increment(1.0);
        Ok(Joined::Waiting(Waiter { shared: Arc::clone(self), outcome }))
    }

    /// The client's turn to load, or its place among those who wait for theirs. Whom nobody knows need not wait.
    fn turn_of(&self, secret: &SecretRef, asking: &mut Asking) -> Result<Result<Option<Turn>, Place>, CertError> {
        let Some(client) = asking.client else { return Ok(Ok(None)) };
        let has_waited = asking.place.is_some();
        match self.gate.ask(client, asking.place.take()) {
            Answer::Go(turn) => Ok(Ok(Some(turn))),
            Answer::Wait(place) => {
                if !has_waited {
                    self.metrics.delayed_misses.increment(1);
                }
                Ok(Err(place))
            }
            Answer::Refused => Err(throttled(secret, asking.began)),
        }
    }
}

fn throttled(secret: &SecretRef, began: Instant) -> CertError {
    let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let error = CertError::Throttled { secret: secret.clone(), waited_ms };
    Metrics::reject(&error);
    error
}
