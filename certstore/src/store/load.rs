//! One load: its task, its turn, what it asks of the source.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::builder::Limits;
use super::desk::Desk;
use super::flights::Purpose;
use super::{Outcome, Shared};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::fairness::Turn;
use crate::inspect;
use crate::metrics::Metrics;
use crate::sealed::SealedText;
use crate::secret::{SecretData, SecretRef};
use crate::source::SourceError;
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
        let abandoned = CertError::Abandoned { secret: self.secret.clone() }.into();
        self.shared.finish(&mut self.shared.desk(), self, abandoned, false);
    }
}

impl Shared {
    /// Starts a load of a Secret that has none under way; `turn` is given back when it ends.
    pub(super) fn start(
        self: &Arc<Self>,
        desk: &mut Desk,
        runtime: &Handle,
        secret: &SecretRef,
        asked_for: &str,
        purpose: Purpose,
        turn: Option<Turn>,
    ) -> watch::Receiver<Option<Outcome>> {
        let (id, outcome) = desk.flights.open(secret, purpose);
        // The ticket is made by the task: a runtime that is shutting down drops the task here, under the desk's lock.
        let task = runtime.spawn(run(Arc::clone(self), secret.clone(), id, asked_for.into(), purpose, turn));
        desk.flights.set_task(secret, task.abort_handle());
        outcome
    }

    /// Starts loads of cached and refused Secrets that changed, as many as may run at a time.
    pub(super) fn reload_dirty(self: &Arc<Self>, desk: &mut Desk) {
        // Before the first load there is no runtime, and nothing cached.
        let Some((runtime, _)) = self.background.get() else { return };
        while desk.flights.reloads() < self.limits.reload_concurrency {
            let Some(secret) = desk.dirty.pop() else { break };
            if desk.flights.changed(&secret) {
                continue;
            }
            let cached = self.cache.peek(&secret);
            let asked_for = cached.as_ref().map(|cached| cached.asked_for());
            match asked_for.or_else(|| desk.faults.is_refused(&secret).then_some("")) {
                Some(asked_for) => drop(self.start(desk, runtime, &secret, asked_for, Purpose::Reload, None)),
                None => desk.retries.forget(&secret),
            }
        }
        self.metrics.reloads_waiting.set(desk.dirty.len() as f64);
    }
}

/// The task of one flight.
async fn run(
    shared: Arc<Shared>,
    secret: SecretRef,
    id: u64,
    asked_for: Box<str>,
    purpose: Purpose,
    _turn: Option<Turn>,
) {
    let ticket = Ticket { shared: Arc::clone(&shared), secret, id };
    // Reloads are limited by their number, so that they neither wait for handshakes nor delay them.
    let (_permit, has_turn) = match purpose {
        Purpose::Reload => (None, true),
        Purpose::Miss => {
            let permit = shared.turn(&ticket.secret).await;
            let has_turn = permit.is_some();
            (permit, has_turn)
        }
    };
    let began = Instant::now();
    for round in 1..=MAX_ROUNDS {
        let Some(seen) = shared.begin(&ticket) else { return };
        let loaded = shared.read(&ticket.secret, &asked_for, began, has_turn).await;
        if shared.land(&ticket, seen, round == MAX_ROUNDS, loaded) {
            break;
        }
    }
    shared.cache.settle();
}

/// What a load brought, with an encrypted copy where one is to be kept.
pub(super) struct Loaded {
    pub(super) result: Outcome,
    pub(super) sealed: Option<SealedText>,
    /// What is worth a word about the newest version.
    pub(super) warnings: Vec<Warning>,
}

impl From<CertError> for Loaded {
    fn from(error: CertError) -> Self {
        Self { result: Err(error), sealed: None, warnings: Vec::new() }
    }
}

impl Shared {
    /// Asks the source and checks what it delivers; if the source is away, a copy will do. The load began, perhaps with
    /// an earlier round, at `began`; without a turn the source is not asked.
    async fn read(&self, secret: &SecretRef, asked_for: &str, began: Instant, has_turn: bool) -> Loaded {
        let _in_flight = InFlight::enter(&self.metrics);
        let asked = Instant::now();
        let delivered = match self.patience(secret) {
            _ if !has_turn => None,
            Some(patience) => timeout_at(asked + patience, self.source.load(secret)).await.ok(),
            None => self.ask(secret, began).await,
        };
        let loaded = match delivered {
            None => CertError::Deadline { secret: secret.clone(), after: asked.elapsed() }.into(),
            Some(Err(source)) => CertError::Source { secret: secret.clone(), source: Arc::new(source) }.into(),
            Some(Ok(data)) => {
                let accepted = self.accept(secret, &data, asked_for);
                let (result, warnings) = match accepted {
                    Ok((certificate, warnings)) => (Ok(Arc::new(certificate)), warnings),
                    Err(error) => (Err(error), Vec::new()),
                };
                Loaded { sealed: self.seal(&result, &data), result, warnings }
            }
        };
        let loaded = self.recover(secret, asked_for, loaded).await;
        self.metrics.load_seconds.record(asked.elapsed());
        loaded
    }

    /// What the source delivers; `None` if it takes too long. Handshakes that have given up meanwhile try again, and
    /// find what comes late.
    async fn ask(&self, secret: &SecretRef, began: Instant) -> Option<Result<SecretData, SourceError>> {
        let Limits { load_deadline, load_limit, .. } = self.limits;
        let mut load = self.source.load(secret);
        if let Ok(delivered) = timeout_at(began + load_deadline.min(load_limit), &mut load).await {
            return Some(delivered);
        }
        warn!(%secret, seconds = load_deadline.as_secs_f64(), "a secret takes longer to load than handshakes wait");
        timeout_at(began + load_limit, load).await.ok()
    }

    /// Checks what was delivered, and reports what is worth a word.
    pub(super) fn accept(
        &self,
        secret: &SecretRef,
        data: &SecretData,
        asked_for: &str,
    ) -> Result<(Certificate, Vec<Warning>), CertError> {
        let checked = inspect::check(secret, data).map_err(Arc::new)?;
        // A handshake without a server name asks for none.
        let names = Some(asked_for).filter(|name| !name.is_empty());
        let warnings = checked.warnings(secret, names.as_slice(), SystemTime::now());
        let hold = |bytes| self.metrics.hold(bytes);
        let certificate = Certificate::new(secret.clone(), checked, data.version.clone(), asked_for, hold);
        report_warnings(&certificate, &warnings);
        Ok((certificate, warnings))
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

impl Shared {
    /// Reports a server name that the certificate does not cover: once for each certificate.
    pub(super) fn report_name(&self, certificate: &Certificate, server_name: &str) {
        if server_name == certificate.asked_for() || server_name.is_empty() {
            return;
        }
        if certificate.names().exclude(server_name) && certificate.claim_uncovered_report() {
            let warning = Warning::not_covered(certificate.secret(), server_name, &certificate.details());
            Metrics::warning(&warning);
            warn!(secret = %certificate.secret(), sni = server_name, %warning, "serving a certificate with a fault");
            self.desk().faults.warned(&warning);
        }
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
