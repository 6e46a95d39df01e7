//! One load: its task, its turn, what it asks of the source.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::desk::Desk;
use super::flights::Purpose;
use super::{Outcome, Shared};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::inspect;
use crate::metrics::{LoadOutcome, Metrics};
use crate::secret::{SecretData, SecretRef};
use crate::warning::Warning;

/// A Secret that changes while it is read is read again, so often. After that what was read is taken, and the Secret
/// is loaded again in the background: handshakes don't wait for it to come to rest.
const MAX_ROUNDS: u32 = 3;

/// A load's claim to its flight. If its task ends without landing (the source panicked), the flight fails.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    pub(super) secret: SecretRef,
    pub(super) id: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let abandoned = Err(CertError::Abandoned { secret: self.secret.clone() });
        self.shared.finish(&mut self.shared.desk(), self, abandoned, false);
    }
}

impl Shared {
    /// Starts a load of a Secret that has none under way.
    pub(super) fn start(
        self: &Arc<Self>,
        desk: &mut Desk,
        runtime: &Handle,
        secret: &SecretRef,
        asked_for: &str,
        purpose: Purpose,
    ) -> watch::Receiver<Option<Outcome>> {
        let (id, outcome) = desk.flights.open(secret, purpose);
        // The ticket is made by the task: a runtime that is shutting down drops the task here, under the desk's lock.
        let task = runtime.spawn(run(Arc::clone(self), secret.clone(), id, asked_for.into(), purpose));
        desk.flights.set_task(secret, task.abort_handle());
        outcome
    }

    /// Starts loads of cached Secrets that changed, as many as may run at a time.
    pub(super) fn reload_dirty(self: &Arc<Self>, desk: &mut Desk) {
        // Before the first load there is no runtime, and nothing cached.
        let Some((runtime, _)) = self.background.get() else { return };
        while desk.flights.reloads() < self.limits.reload_concurrency {
            let Some(secret) = desk.dirty.pop() else { break };
            if desk.flights.changed(&secret) {
                continue;
            }
            match self.cache.peek(&secret) {
                Some(cached) => drop(self.start(desk, runtime, &secret, cached.asked_for(), Purpose::Reload)),
                None => desk.retries.forget(&secret),
            }
        }
    }

    /// No turn before the deadline: says nothing about the Secret, so nothing is remembered.
    fn give_up(&self, ticket: &Ticket) {
        let after = self.limits.load_deadline;
        let error = CertError::Deadline { secret: ticket.secret.clone(), after };
        self.metrics.load(LoadOutcome::Failed).increment();
        Metrics::reject(&error);
        if let Some(flight) = self.desk().flights.close(&ticket.secret, ticket.id) {
            flight.deliver(Err(error));
        }
    }
}

/// The task of one flight.
async fn run(shared: Arc<Shared>, secret: SecretRef, id: u64, asked_for: Box<str>, purpose: Purpose) {
    let ticket = Ticket { shared: Arc::clone(&shared), secret, id };
    let deadline = Instant::now() + shared.limits.load_deadline;
    // Reloads are limited by their number, so that they neither wait for handshakes nor delay them.
    let _permit = match purpose {
        Purpose::Reload => None,
        Purpose::Miss => match timeout_at(deadline, shared.load_permits.acquire()).await {
            Ok(permit) => permit.ok(),
            Err(_) => return shared.give_up(&ticket),
        },
    };
    for round in 1..=MAX_ROUNDS {
        let Some(seen) = shared.begin(&ticket) else { return };
        let result = shared.read(&ticket.secret, &asked_for, deadline).await;
        if shared.land(&ticket, seen, round == MAX_ROUNDS, result) {
            break;
        }
    }
    shared.cache.settle();
}

impl Shared {
    /// Asks the source and checks what it delivers.
    async fn read(&self, secret: &SecretRef, asked_for: &str, deadline: Instant) -> Outcome {
        let _in_flight = InFlight::enter(&self.metrics);
        let began = Instant::now();
        let delivered = timeout_at(deadline, self.source.load(secret)).await;
        let result = match delivered {
            Err(_) => Err(CertError::Deadline { secret: secret.clone(), after: self.limits.load_deadline }),
            Ok(Err(source)) => Err(CertError::Source { secret: secret.clone(), source: Arc::new(source) }),
            Ok(Ok(data)) => self.accept(secret, &data, asked_for),
        };
        self.metrics.load_seconds.record(began.elapsed());
        result
    }

    /// Checks what was delivered, and reports what is worth a word.
    fn accept(&self, secret: &SecretRef, data: &SecretData, asked_for: &str) -> Outcome {
        let checked = inspect::check(secret, data).map_err(Arc::new)?;
        let warnings = checked.warnings(secret, &[asked_for], SystemTime::now());
        let hold = |bytes| self.metrics.hold(bytes);
        let certificate = Certificate::new(secret.clone(), checked, data.version.clone(), asked_for, hold);
        report_warnings(&certificate, &warnings);
        Ok(Arc::new(certificate))
    }
}

/// Counts a load for as long as it lives.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn enter(metrics: &'a Metrics) -> Self {
        metrics.in_flight.increment(1.0);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1.0);
    }
}

/// Reports a server name that the certificate does not cover: once for each certificate.
pub(super) fn report_name(certificate: &Certificate, server_name: &str) {
    if server_name == certificate.asked_for() {
        return;
    }
    let details = certificate.details();
    if !details.covers(server_name) && certificate.claim_uncovered_report() {
        let warning = Warning::not_covered(certificate.secret(), server_name, &details);
        Metrics::warning(&warning);
        warn!(secret = %certificate.secret(), sni = server_name, warning = %warning, "serving a certificate with a fault");
    }
}

fn report_warnings(certificate: &Certificate, warnings: &[Warning]) {
    for warning in warnings {
        if matches!(warning, Warning::NameNotCovered { .. }) {
            certificate.claim_uncovered_report();
        }
        Metrics::warning(warning);
        warn!(secret = %certificate.secret(), warning = %warning, "serving a certificate with a fault");
    }
}
