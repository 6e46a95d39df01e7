//! What the store tells about itself.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::faults::FaultInfo;
use super::{CertStore, Shared};
use crate::certificate::Certificate;
use crate::details::Details;
use crate::error::CertError;
use crate::intermediates;
use crate::metrics::{LoadOutcome, SwapOutcome};
use crate::sealed::SealedStats;
use crate::secret::SecretRef;

/// Sums over a store, since it was built or at this time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Certificates in the cache.
    pub entries: u64,
    /// Bytes they are weighed with.
    pub bytes: u64,
    /// Bytes of all certificates in memory: cached, or evicted and still in use by a handshake.
    pub held_bytes: u64,
    /// Bytes of intermediates that are held once for all stores of the process; in no entry's weight.
    pub shared_bytes: u64,
    /// What certificates and loads may have.
    pub budget: u64,
    /// Certificates found in the cache.
    pub hits: u64,
    /// Certificates not found there.
    pub misses: u64,
    /// Misses answered by the memory of an earlier refusal.
    pub refused_hits: u64,
    /// Loads that brought a certificate.
    pub loads: u64,
    /// Loads that brought none.
    pub failed_loads: u64,
    /// Certificates that left for lack of room.
    pub evictions: u64,
    /// Certificates replaced by a newer version.
    pub swaps: u64,
    /// Newer versions that were bad or not to be had, so that the last good one stayed.
    pub kept: u64,
    /// Handshakes that wait now.
    pub waiting: usize,
    /// Loads under way now.
    pub loads_in_flight: usize,
    /// Cached Secrets that changed and wait for their reload.
    pub reloads_queued: usize,
    /// Secrets that are left alone until their backoff is over.
    pub refused: usize,
    /// When the first cached certificate expires.
    pub soonest_expiry: Option<SystemTime>,
    /// Sums over the sealed tier, if there is one.
    pub sealed: Option<SealedStats>,
}

/// One cached certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// The Secret it came from.
    pub secret: SecretRef,
    /// The Secret's version, if the source knew it.
    pub version: Option<String>,
    /// What the leaf says.
    pub details: Details,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    /// How long ago it was last used.
    pub idle: Duration,
    /// Bytes it is weighed with.
    pub bytes: u64,
    /// The server name that it was first asked for; empty if there was none.
    pub asked_for: String,
    /// Why the last attempt to load a newer version failed, until one succeeds: what is served is the last good one.
    pub last_error: Option<CertError>,
    /// When that is tried again.
    pub retry_in: Option<Duration>,
    /// It is from an encrypted copy, since the source was away.
    pub is_copy: bool,
    /// And the Secret had changed since it was copied.
    pub is_stale: bool,
}

/// One Secret that could not be served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusalInfo {
    /// Which Secret.
    pub secret: SecretRef,
    /// Why.
    pub error: CertError,
    /// How often in a row.
    pub failures: u32,
    /// How long it is left alone yet; zero when the next handshake tries it again.
    pub retry_in: Duration,
}

/// Some of the cached certificates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// How many there are in all.
    pub total: usize,
    /// Those that were asked for, in the order of their Secrets.
    pub entries: Vec<EntryInfo>,
}

/// What the store knows of one Secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecretState {
    /// Its certificate, if it is cached.
    pub entry: Option<EntryInfo>,
    /// Why it could not be served when it was last tried, if so.
    pub refusal: Option<RefusalInfo>,
    /// What is wrong with it, if anything is.
    pub fault: Option<FaultInfo>,
    /// A load of it is under way.
    pub is_loading: bool,
}

impl CertStore {
    /// Sums, as of now.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (totals, metrics) = (shared.cache.totals(), &shared.metrics);
        let load = |outcome| metrics.load(outcome).get();
        let desk = shared.desk();
        Stats {
            entries: totals.entries,
            bytes: totals.bytes,
            held_bytes: metrics.held_bytes(),
            shared_bytes: intermediates::pooled_bytes() as u64,
            budget: shared.cache.budget(),
            hits: metrics.hits.get(),
            misses: metrics.misses.get(),
            refused_hits: metrics.refused_hits.get(),
            loads: load(LoadOutcome::Loaded),
            failed_loads: load(LoadOutcome::Rejected) + load(LoadOutcome::Missing) + load(LoadOutcome::Failed),
            evictions: metrics.evictions.get(),
            swaps: metrics.swap(SwapOutcome::Swapped).get(),
            kept: metrics.swap(SwapOutcome::Kept).get(),
            waiting: shared.waiting.load(Relaxed),
            loads_in_flight: desk.flights.len(),
            reloads_queued: desk.dirty.len(),
            refused: desk.refusals.len(),
            soonest_expiry: totals.soonest_expiry.map(crate::details::system_time),
            sealed: shared.sealed.as_ref().map(|sealed| sealed.tier.stats()),
        }
    }

    /// All cached certificates, in no order. Parses each leaf, which takes about 20 µs.
    pub fn entries(&self) -> Vec<EntryInfo> {
        self.shared.entry_infos(&self.shared.cache.entries())
    }

    /// Up to `limit` of the cached certificates from the one at `offset` on. Only their leaves are parsed.
    pub fn page(&self, offset: usize, limit: usize) -> Page {
        let mut certificates = self.shared.cache.entries();
        certificates.sort_unstable_by(|one, other| one.secret().cmp(other.secret()));
        let first = offset.min(certificates.len());
        let last = first.saturating_add(limit).min(certificates.len());
        Page { total: certificates.len(), entries: self.shared.entry_infos(&certificates[first..last]) }
    }

    /// What is known of one Secret. Loads nothing.
    pub fn secret(&self, secret: &SecretRef) -> SecretState {
        let certificate = self.shared.cache.peek(secret);
        let entry = certificate.and_then(|certificate| self.shared.entry_infos(&[certificate]).pop());
        let now = Instant::now();
        let desk = self.shared.desk();
        let refusal = desk.refusals.get(secret).map(|backoff| refusal_info(secret, backoff, now));
        let (fault, is_loading) = (desk.faults.get(secret), desk.flights.subscribe(secret).is_some());
        SecretState { entry, refusal, fault, is_loading }
    }

    /// What is wrong with Secrets that were asked for: refusals, which hold until the Secret is served or gone, and faults
    /// of what is served. In the order of the Secrets; at most as many as the [limit](crate::Builder::refusal_limit), of
    /// each sort.
    pub fn faults(&self) -> Vec<FaultInfo> {
        self.shared.desk().faults.all()
    }

    /// A number that rises whenever [`faults`](Self::faults) change.
    pub fn fault_changes(&self) -> watch::Receiver<u64> {
        self.shared.desk().faults.revision()
    }

    /// The Secrets that could not be served, in no order.
    pub fn refusals(&self) -> Vec<RefusalInfo> {
        let now = Instant::now();
        let desk = self.shared.desk();
        desk.refusals.iter().map(|(secret, backoff)| refusal_info(secret, backoff, now)).collect()
    }
}

fn refusal_info(secret: &SecretRef, backoff: &Backoff, now: Instant) -> RefusalInfo {
    RefusalInfo {
        secret: secret.clone(),
        error: backoff.error.clone(),
        failures: backoff.failures,
        retry_in: backoff.until.saturating_duration_since(now),
    }
}

impl Shared {
    fn entry_infos(&self, certificates: &[Arc<Certificate>]) -> Vec<EntryInfo> {
        let now = Instant::now();
        let retries: Vec<_> = {
            let desk = self.desk();
            let until =
                |certificate: &Arc<Certificate>| desk.retries.get(certificate.secret()).map(|retry| retry.until);
            certificates.iter().map(until).collect()
        };
        let entries = certificates.iter().zip(retries);
        entries
            .map(|(certificate, until)| {
                let retry_in = until.map(|until| until.saturating_duration_since(now));
                EntryInfo { retry_in, ..self.entry_info(certificate) }
            })
            .collect()
    }

    fn entry_info(&self, certificate: &Certificate) -> EntryInfo {
        EntryInfo {
            secret: certificate.secret().clone(),
            version: certificate.version().map(ToOwned::to_owned),
            details: certificate.details(),
            loaded_at: certificate.loaded_at(),
            idle: Duration::from_millis(self.millis().saturating_sub(certificate.last_used())),
            bytes: certificate.bytes(),
            asked_for: certificate.asked_for().to_owned(),
            last_error: certificate.last_error(),
            retry_in: None,
            is_copy: certificate.copy().is_some(),
            is_stale: certificate.copy().is_some_and(|copy| copy.is_stale),
        }
    }
}
