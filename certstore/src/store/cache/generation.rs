//! One moka cache: its entries, what they add up to, and what it is told of their use.

use std::sync::Arc;

use moka::notification::RemovalCause;

use super::capacity;
use super::ledger::Ledger;
use crate::certificate::Certificate;
use crate::metrics::Metrics;
use crate::sealed::SealedTier;
use crate::secret::SecretRef;

type Entries = moka::sync::Cache<SecretRef, Arc<Certificate>, foldhash::fast::RandomState>;

/// moka counts uses up to 15; a quarter of that tells what is used often from what was used once.
const MAX_RECALLS: u8 = 4;
/// Milliseconds without use after which uses count half.
const FADES_AFTER: u64 = 600_000;

/// One moka cache: its capacity can't change.
pub(super) struct Generation {
    pub(super) entries: Entries,
    pub(super) ledger: Arc<Ledger>,
    pub(super) budget: u64,
    pub(super) capacity: u64,
}

/// How often it is worth saying that a certificate was used: 0 for what was asked for once, up to [`MAX_RECALLS`].
pub(super) fn recalls(certificate: &Certificate, now: u64) -> u8 {
    let idle = now.saturating_sub(certificate.last_used()) / FADES_AFTER;
    let uses = u32::from(certificate.uses()).checked_shr(u32::try_from(idle).unwrap_or(u32::MAX)).unwrap_or(0);
    u8::try_from(uses.div_ceil(4)).unwrap_or(MAX_RECALLS)
}

impl Generation {
    pub(super) fn new(budget: u64, headroom: u64, metrics: &Arc<Metrics>, sealed: Option<SealedTier>) -> Self {
        let capacity = capacity(budget, headroom);
        let ledger = Arc::new(Ledger::new(Arc::clone(metrics)));
        let left = Arc::clone(&ledger);
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, certificate: &Arc<Certificate>| u32::try_from(certificate.bytes()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, certificate: Arc<Certificate>, cause| {
                let is_eviction = cause == RemovalCause::Size;
                left.remove(&certificate, is_eviction);
                if let Some(sealed) = sealed.as_ref().filter(|_| is_eviction) {
                    sealed.touch(certificate.secret());
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries, ledger, budget, capacity }
    }

    /// Tells moka how often each was used, as far as its sketch would remember: a scan that begins right after would
    /// else push them out. `certificates` are in the order of last use, the latest first, and so they are afterwards.
    pub(super) fn recall(&self, certificates: &[Arc<Certificate>], now: u64) {
        for round in (0..MAX_RECALLS).rev() {
            for certificate in certificates.iter().rev() {
                if round == 0 || recalls(certificate, now) > round {
                    self.entries.get(certificate.secret());
                }
            }
        }
        self.entries.run_pending_tasks();
    }

    pub(super) fn insert(&self, certificate: Arc<Certificate>) {
        // Entered first: moka may evict it again before `insert` returns.
        self.ledger.add(&certificate);
        self.entries.insert(certificate.secret().clone(), certificate);
    }
}
