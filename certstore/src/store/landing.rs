//! The end of a load: what it means for those who wait and for what is cached.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::desk::Desk;
use super::faults::Serving;
use super::flights::{Flight, Purpose};
use super::load::{Loaded, Ticket};
use super::{Outcome, Shared};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::metrics::{LoadOutcome, Metrics, SwapOutcome};
use crate::secret::SecretRef;

impl Shared {
    /// How many changes the load has to be newer than; `None` when it is not wanted any more.
    pub(super) fn begin(&self, ticket: &Ticket) -> Option<u64> {
        let mut desk = self.desk();
        let flight = desk.flights.get(&ticket.secret, ticket.id)?;
        if flight.purpose() == Purpose::Reload || flight.is_awaited() {
            return Some(flight.changes());
        }
        desk.flights.close(&ticket.secret, ticket.id);
        None
    }

    /// Ends the load with what it brought, or says that it must be repeated (false), since the Secret changed meanwhile.
    pub(super) fn land(self: &Arc<Self>, ticket: &Ticket, seen: u64, is_last_round: bool, loaded: Loaded) -> bool {
        let mut desk = self.desk();
        let Some(changes) = desk.flights.get(&ticket.secret, ticket.id).map(Flight::changes) else {
            self.metrics.load(LoadOutcome::Superseded).increment();
            return true;
        };
        let is_stale = changes != seen;
        if is_stale && !is_last_round {
            self.metrics.load(LoadOutcome::Superseded).increment();
            return false;
        }
        self.finish(&mut desk, ticket, loaded, is_stale);
        self.reload_dirty(&mut desk);
        true
    }

    /// Takes the flight off the table, if it is still there, and what it brought into account.
    pub(super) fn finish(&self, desk: &mut Desk, ticket: &Ticket, loaded: Loaded, is_stale: bool) {
        if let Some(flight) = desk.flights.close(&ticket.secret, ticket.id) {
            let Loaded { result, sealed, warnings } = loaded;
            self.metrics.load(outcome_of(&result)).increment();
            self.keep_copy(&ticket.secret, &result, sealed.filter(|_| !is_stale));
            if result.as_ref().is_ok_and(|certificate| certificate.copy().is_none()) {
                desk.faults.served(&ticket.secret, warnings);
            }
            self.conclude(desk, &ticket.secret, &flight, &result, is_stale);
            flight.deliver(result);
        }
    }

    fn conclude(&self, desk: &mut Desk, secret: &SecretRef, flight: &Flight, result: &Outcome, is_stale: bool) {
        let cached = self.cache.peek(secret);
        match (result, cached) {
            (Ok(certificate), None) if certificate.copy().is_some() => self.keep_copied(desk, certificate),
            // Loaded by somebody else meanwhile.
            (Ok(certificate), Some(_)) if certificate.copy().is_some() => {}
            (Ok(certificate), Some(old)) => self.swap(desk, certificate, &old),
            (Ok(certificate), None) => {
                // A reload whose entry was evicted meanwhile, and that no handshake waits for, brings nothing back.
                if flight.purpose() == Purpose::Miss || flight.is_awaited() {
                    self.keep(desk, certificate, self.millis());
                }
            }
            (Err(error), Some(old)) if error.is_gone() => self.let_go(desk, &old, error, is_stale),
            (Err(error), Some(old)) => self.keep_last_good(desk, &old, error),
            (Err(error), None) => self.refuse(desk, secret, error, is_stale),
        }
        if is_stale {
            desk.dirty.push(secret);
        }
        self.metrics.refused.set(desk.refusals.len() as f64);
    }

    pub(super) fn keep(&self, desk: &mut Desk, certificate: &Arc<Certificate>, last_used: u64) {
        certificate.touch(last_used);
        desk.refusals.forget(certificate.secret());
        desk.retries.forget(certificate.secret());
        self.cache.insert(certificate);
    }

    fn swap(&self, desk: &mut Desk, new: &Arc<Certificate>, old: &Certificate) {
        new.succeed(old);
        self.keep(desk, new, old.last_used());
        self.metrics.swap(SwapOutcome::Swapped).increment();
        info!(secret = %new.secret(), version = new.version(), "swapped certificate");
    }

    /// The newer version can't be served or can't be had: what is cached stays, and the newer one is tried again.
    fn keep_last_good(&self, desk: &mut Desk, old: &Certificate, error: &CertError) {
        let secret = old.secret();
        Metrics::reject(error);
        old.set_last_error(error.clone());
        let version = old.version().map(str::to_owned);
        desk.faults.refused(secret, error, Serving::LastGood { version });
        desk.retries.failed(secret, error.clone(), Instant::now());
        self.metrics.swap(SwapOutcome::Kept).increment();
        warn!(%secret, serving = old.version(), error = report(error), "kept last good certificate");
    }

    /// The Secret is gone, or not for us any more: what is cached goes too.
    fn let_go(&self, desk: &mut Desk, old: &Certificate, error: &CertError, is_stale: bool) {
        self.cache.remove(old.secret());
        desk.forget(old.secret());
        self.metrics.swap(SwapOutcome::Removed).increment();
        self.refuse(desk, old.secret(), error, is_stale);
    }

    /// Not to be tried again for a while, unless a change was reported since it was read. What says nothing about the
    /// Secret is not held against it: a load that took too long not at all, a source that cannot tell for a moment.
    fn refuse(&self, desk: &mut Desk, secret: &SecretRef, error: &CertError, is_stale: bool) {
        Metrics::reject(error);
        warn!(%secret, error = report(error), "refused secret");
        if is_stale || matches!(error, CertError::Deadline { .. }) {
            return;
        }
        desk.faults.refused(secret, error, Serving::Nothing { has_sealed_tier: self.sealed.is_some() });
        if error.is_passing() {
            desk.refusals.faltered(secret, error.clone(), Instant::now());
        } else {
            desk.refusals.failed(secret, error.clone(), Instant::now());
        }
    }
}

fn outcome_of(result: &Outcome) -> LoadOutcome {
    match result {
        Ok(certificate) if certificate.copy().is_some() => LoadOutcome::Sealed,
        Ok(_) => LoadOutcome::Loaded,
        Err(CertError::Secret(_)) => LoadOutcome::Rejected,
        Err(error) if error.is_gone() => LoadOutcome::Missing,
        Err(_) => LoadOutcome::Failed,
    }
}

/// An error with its causes, in one line.
pub(super) fn report(error: &CertError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
