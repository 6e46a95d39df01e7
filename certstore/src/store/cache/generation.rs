//! One moka cache: its entries, what they add up to, and what it is told of their use.

use std::sync::Arc;

use moka::notification::RemovalCause;

use super::capacity;
use super::ledger::Ledger;
use super::pinned::Pinned;
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
    pinned: Arc<Pinned>,
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
        // What loads in flight rarely need: so all of it stays within the budget.
        let pinned = Arc::new(Pinned::new(budget.saturating_sub(capacity)));
        let (left, pins) = (Arc::clone(&ledger), Arc::clone(&pinned));
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, certificate: &Arc<Certificate>| u32::try_from(certificate.bytes()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, certificate: Arc<Certificate>, cause| {
                let is_eviction = cause == RemovalCause::Size;
                let leave = |certificate: &Certificate| {
                    left.remove(certificate, is_eviction);
                    if let Some(sealed) = sealed.as_ref().filter(|_| is_eviction) {
                        sealed.touch(certificate.secret());
                    }
                };
                if is_eviction && certificate.is_last_good() {
                    pins.keep(certificate).iter().for_each(|certificate| leave(certificate));
                } else {
                    leave(&certificate);
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries, pinned, ledger, budget, capacity }
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        self.entries.get(secret).or_else(|| self.pinned.get(secret))
    }

    /// When it is not there, that doesn't count as interest in it.
    pub(super) fn peek(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        let found = if self.entries.contains_key(secret) { self.entries.get(secret) } else { None };
        found.or_else(|| self.pinned.get(secret))
    }

    pub(super) fn contains(&self, secret: &SecretRef) -> bool {
        self.entries.contains_key(secret) || self.pinned.get(secret).is_some()
    }

    /// From now on it is not found. In this order, since what is evicted now is pinned before the removal returns.
    pub(super) fn remove(&self, secret: &SecretRef) {
        self.entries.invalidate(secret);
        if let Some(certificate) = self.pinned.take(secret) {
            self.ledger.remove(&certificate, false);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Certificate>> {
        self.entries.iter().map(|(_, certificate)| certificate).chain(self.pinned.all()).collect()
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

    pub(super) fn insert(&self, certificate: &Arc<Certificate>) {
        // Entered first: moka may evict it again before `insert` returns.
        self.ledger.add(certificate);
        self.entries.insert(certificate.secret().clone(), Arc::clone(certificate));
        // What it replaces may have been evicted just before, and it just after.
        if let Some(other) = self.pinned.take_unless(certificate.secret(), certificate) {
            self.ledger.remove(&other, false);
        }
    }
}
