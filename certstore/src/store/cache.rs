//! The cache: a moka cache weighed in bytes, replaced by another one when the budget changes.

mod generation;
mod ledger;
mod pinned;
mod resize;

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::certificate::Certificate;
use crate::metrics::Metrics;
use crate::sealed::SealedTier;
use crate::secret::SecretRef;
use generation::Generation;
pub(super) use ledger::Totals;
use resize::Changes;

/// The share of the budget that is kept free for loads in flight, where their worst case is more than that.
const HEADROOM_SHARE: u64 = 8;

/// Certificates within a budget.
///
/// Changes are made under the lock of the store's desk; lookups need no lock. moka's synchronous cache is used since
/// neither a lookup in the hit path nor the removal of a Secret may wait, and since its `try_get_with` would put a
/// value in place that was invalidated while it was loaded: single flight is the store's own.
pub(super) struct Cache {
    current: ArcSwap<Generation>,
    /// Held for as long as the budget is being changed: one change at a time.
    resizing: Mutex<()>,
    changes: Changes,
    headroom: u64,
    metrics: Arc<Metrics>,
    sealed: Option<SealedTier>,
}

/// What certificates may weigh together, if loads in flight can take `headroom` at worst.
pub(crate) fn capacity(budget: u64, headroom: u64) -> u64 {
    // With a capacity of 0 moka takes nothing and says nothing; with 1 it takes everything and evicts it.
    (budget - headroom.min(budget / HEADROOM_SHARE)).max(1)
}

impl Cache {
    /// `headroom`: what loads in flight can take at worst. `sealed` is told what leaves for lack of room.
    pub(super) fn new(budget: u64, headroom: u64, metrics: Arc<Metrics>, sealed: Option<SealedTier>) -> Self {
        metrics.budget.set(budget as f64);
        let first = Generation::new(budget, headroom, &metrics, sealed.clone());
        first.ledger.publish();
        let (current, resizing, changes) = (ArcSwap::from_pointee(first), Mutex::default(), Changes::default());
        Self { current, resizing, changes, headroom, metrics, sealed }
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        self.current.load().get(secret)
    }

    /// As [`get`](Self::get) when it is there; when it isn't, that doesn't count as interest in it. One handshake that
    /// misses would else weigh as much as four that hit when moka decides what is worth keeping.
    pub(super) fn peek(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        self.current.load().peek(secret)
    }

    /// Whether it is there, which doesn't count as interest in it.
    pub(super) fn contains(&self, secret: &SecretRef) -> bool {
        self.current.load().contains(secret)
    }

    /// Puts the certificate in place, where another one may have been.
    pub(super) fn insert(&self, certificate: &Arc<Certificate>) {
        self.changes.note(certificate.secret());
        self.current.load().insert(certificate);
    }

    /// From now on it is not found.
    pub(super) fn remove(&self, secret: &SecretRef) {
        self.changes.note(secret);
        self.current.load().remove(secret);
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
        self.current.load().all()
    }

    /// Counts what expires soon, and publishes it.
    pub(super) fn count_expiring(&self) {
        self.current.load().ledger.count_expiring();
    }

    /// Counts what has expired by now, publishes it and returns it.
    pub(super) fn count_expired(&self) -> u64 {
        self.current.load().ledger.count_expired()
    }
}
