//! What the store tells about itself.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

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
    /// Why the last attempt to load a newer version failed, until one succeeds.
    pub last_error: Option<CertError>,
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
        let certificates = self.shared.cache.entries();
        certificates.iter().map(|certificate| self.shared.entry_info(certificate)).collect()
    }

    /// The Secrets that could not be served, in no order.
    pub fn refusals(&self) -> Vec<RefusalInfo> {
        let now = Instant::now();
        let desk = self.shared.desk();
        let refusal = |(secret, backoff): (&SecretRef, &super::backoff::Backoff)| RefusalInfo {
            secret: secret.clone(),
            error: backoff.error.clone(),
            failures: backoff.failures,
            retry_in: backoff.until.saturating_duration_since(now),
        };
        desk.refusals.iter().map(refusal).collect()
    }
}

impl Shared {
    fn entry_info(&self, certificate: &Arc<Certificate>) -> EntryInfo {
        EntryInfo {
            secret: certificate.secret().clone(),
            version: certificate.version().map(ToOwned::to_owned),
            details: certificate.details(),
            loaded_at: certificate.loaded_at(),
            idle: Duration::from_millis(self.millis().saturating_sub(certificate.last_used())),
            bytes: certificate.bytes(),
            last_error: certificate.last_error(),
            is_copy: certificate.copy().is_some(),
            is_stale: certificate.copy().is_some_and(|copy| copy.is_stale),
        }
    }
}
