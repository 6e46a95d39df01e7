//! The cache: a moka cache weighed in bytes, replaced by another one when the budget changes.

mod ledger;

use std::cmp::Reverse;
use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::notification::RemovalCause;

use crate::certificate::Certificate;
use crate::metrics::Metrics;
use crate::sealed::SealedTier;
use crate::secret::SecretRef;
use ledger::Ledger;
pub(super) use ledger::Totals;

type Entries = moka::sync::Cache<SecretRef, Arc<Certificate>, foldhash::fast::RandomState>;

/// The share of the budget that is kept free for loads in flight, where their worst case is more than that.
const HEADROOM_SHARE: u64 = 8;

/// moka counts uses up to 15; a quarter of that tells what is used often from what was used once.
const MAX_RECALLS: u8 = 4;
/// Milliseconds without use after which uses count half.
const FADES_AFTER: u64 = 600_000;

/// Certificates within a budget.
///
/// Changes are made under the lock of the store's desk; lookups need no lock. moka's synchronous cache is used since
/// neither a lookup in the hit path nor the removal of a Secret may wait, and since its `try_get_with` would put a
/// value in place that was invalidated while it was loaded: single flight is the store's own.
pub(super) struct Cache {
    current: ArcSwap<Generation>,
    headroom: u64,
    metrics: Arc<Metrics>,
    sealed: Option<SealedTier>,
}

/// One moka cache: its capacity can't change.
struct Generation {
    entries: Entries,
    ledger: Arc<Ledger>,
    budget: u64,
    capacity: u64,
}

/// What certificates may weigh together, if loads in flight can take `headroom` at worst.
pub(crate) fn capacity(budget: u64, headroom: u64) -> u64 {
    // With a capacity of 0 moka takes nothing and says nothing; with 1 it takes everything and evicts it.
    (budget - headroom.min(budget / HEADROOM_SHARE)).max(1)
}

/// How often moka is told that a certificate was used.
fn recalls(certificate: &Certificate, now: u64) -> u8 {
    let idle = now.saturating_sub(certificate.last_used()) / FADES_AFTER;
    let uses = u32::from(certificate.uses()).checked_shr(u32::try_from(idle).unwrap_or(u32::MAX)).unwrap_or(0);
    u8::try_from(uses.div_ceil(4)).unwrap_or(MAX_RECALLS)
}

impl Cache {
    /// `headroom`: what loads in flight can take at worst. `sealed` is told what leaves for lack of room.
    pub(super) fn new(budget: u64, headroom: u64, metrics: Arc<Metrics>, sealed: Option<SealedTier>) -> Self {
        metrics.budget.set(budget as f64);
        let first = Generation::new(budget, headroom, &metrics, sealed.clone());
        first.ledger.publish();
        Self { current: ArcSwap::from_pointee(first), headroom, metrics, sealed }
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        self.current.load().entries.get(secret)
    }

    /// As [`get`](Self::get) when it is there; when it isn't, that doesn't count as interest in it. One handshake that
    /// misses would else weigh as much as four that hit when moka decides what is worth keeping.
    pub(super) fn peek(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        let current = self.current.load();
        if current.entries.contains_key(secret) { current.entries.get(secret) } else { None }
    }

    /// Whether it is there, which doesn't count as interest in it.
    pub(super) fn contains(&self, secret: &SecretRef) -> bool {
        self.current.load().entries.contains_key(secret)
    }

    /// Puts the certificate in place, where another one may have been.
    pub(super) fn insert(&self, certificate: Arc<Certificate>) {
        self.current.load().insert(certificate);
    }

    /// From now on it is not found.
    pub(super) fn remove(&self, secret: &SecretRef) {
        self.current.load().entries.invalidate(secret);
    }

    /// Brings the cache within its budget now; moka on its own would do so some hundred changes later.
    pub(super) fn settle(&self) {
        self.current.load().entries.run_pending_tasks();
    }

    pub(super) fn budget(&self) -> u64 {
        self.current.load().budget
    }

    pub(super) fn totals(&self) -> Totals {
        self.current.load().ledger.totals()
    }

    pub(super) fn entries(&self) -> Vec<Arc<Certificate>> {
        self.current.load().entries.iter().map(|(_, certificate)| certificate).collect()
    }

    /// Counts what expires soon, and publishes it.
    pub(super) fn count_expiring(&self) {
        self.current.load().ledger.count_expiring();
    }

    /// Counts what has expired by now, publishes it and returns it.
    pub(super) fn count_expired(&self) -> u64 {
        self.current.load().ledger.count_expired()
    }

    /// Replaces the cache by one of another size, which takes over the entries used last as far as they fit.
    ///
    /// What doesn't fit is dropped before the new one is filled, so that both together are never larger than the old
    /// one was, or than the new one may be, by more than moka's own objects. `now` is the time on the store's clock.
    pub(super) fn set_budget(&self, budget: u64, now: u64) {
        let old = self.current.load_full();
        if old.budget == budget {
            return;
        }
        let next = Generation::new(budget, self.headroom, &self.metrics, self.sealed.clone());
        let kept = self.keep_hottest(&old, next.capacity);
        old.ledger.retire();
        // All of them fit, so nothing is evicted. The last to come is the last to go.
        for certificate in kept.iter().rev() {
            next.insert(Arc::clone(certificate));
        }
        next.entries.run_pending_tasks();
        next.recall(&kept, now);
        next.ledger.publish();
        self.metrics.budget.set(budget as f64);
        self.current.store(Arc::new(next));
    }

    /// Drops from `old` what doesn't fit into `capacity`, and returns the rest, used last first.
    fn keep_hottest(&self, old: &Generation, capacity: u64) -> Vec<Arc<Certificate>> {
        old.entries.run_pending_tasks();
        let mut entries: Vec<_> = old.entries.iter().map(|(_, certificate)| certificate).collect();
        entries.sort_by_key(|certificate| Reverse((certificate.last_used(), certificate.uses())));
        let mut bytes = 0;
        entries.retain(|certificate| {
            let fits = bytes + certificate.bytes() <= capacity;
            if fits {
                bytes += certificate.bytes();
            } else {
                old.entries.invalidate(certificate.secret());
                self.metrics.evictions.increment();
            }
            fits
        });
        old.entries.run_pending_tasks();
        entries
    }
}

impl Generation {
    fn new(budget: u64, headroom: u64, metrics: &Arc<Metrics>, sealed: Option<SealedTier>) -> Self {
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
    fn recall(&self, certificates: &[Arc<Certificate>], now: u64) {
        for round in (0..MAX_RECALLS).rev() {
            for certificate in certificates.iter().rev() {
                if round == 0 || recalls(certificate, now) > round {
                    self.entries.get(certificate.secret());
                }
            }
        }
        self.entries.run_pending_tasks();
    }

    fn insert(&self, certificate: Arc<Certificate>) {
        // Entered first: moka may evict it again before `insert` returns.
        self.ledger.add(&certificate);
        self.entries.insert(certificate.secret().clone(), certificate);
    }
}
