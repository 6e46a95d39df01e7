//! What the store has in hand beside its cache: loads, refusals, changes to follow. Behind one lock, which hits don't take.

use std::collections::{HashSet, VecDeque};

use super::backoff::Backoffs;
use super::builder::Limits;
use super::faults::Faults;
use super::flights::Flights;
use crate::secret::SecretRef;

pub(super) struct Desk {
    pub(super) flights: Flights,
    /// Secrets that are not cached and could not be served when last tried.
    pub(super) refusals: Backoffs,
    /// Secrets that are cached and whose newer version could not be had when last tried.
    pub(super) retries: Backoffs,
    pub(super) dirty: Dirty,
    /// What is wrong with Secrets, for whoever asks.
    pub(super) faults: Faults,
}

impl Desk {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            flights: Flights::default(),
            refusals: Backoffs::new(limits.backoff.clone(), limits.refusals),
            // Bounded by the cache: an entry that is evicted takes its retry along.
            retries: Backoffs::new(limits.backoff.clone(), usize::MAX),
            dirty: Dirty::default(),
            faults: Faults::new(limits.refusals.min(MOST_FAULTS)),
        }
    }

    /// Forgets all that was planned for the Secret.
    pub(super) fn forget(&mut self, secret: &SecretRef) {
        self.refusals.forget(secret);
        self.retries.forget(secret);
        self.dirty.remove(secret);
        self.faults.forget(secret);
    }
}

/// Refused Secrets that are told of at a time, up to 1.2 KiB each. More are counted by their handshakes alone.
const MOST_FAULTS: usize = 1_024;

/// Cached Secrets that changed and are to be loaded again: each once, however often it changed.
#[derive(Default)]
pub(super) struct Dirty {
    members: HashSet<SecretRef, foldhash::fast::RandomState>,
    order: VecDeque<SecretRef>,
}

impl Dirty {
    pub(super) fn push(&mut self, secret: &SecretRef) {
        if self.members.insert(secret.clone()) {
            self.order.push_back(secret.clone());
        }
    }

    pub(super) fn pop(&mut self) -> Option<SecretRef> {
        let secret = self.order.pop_front()?;
        self.members.remove(&secret);
        Some(secret)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn remove(&mut self, secret: &SecretRef) {
        if self.members.remove(secret) {
            self.order.retain(|other| other != secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_changed_twice_is_queued_once_and_again_after_its_turn() {
        let mut dirty = Dirty::default();
        let secret = SecretRef::new("shop", "web");
        dirty.push(&secret);
        dirty.push(&secret);
        assert_eq!((dirty.pop(), dirty.pop()), (Some(secret.clone()), None));
        dirty.push(&secret);
        assert_eq!(dirty.len(), 1);
    }

    #[test]
    fn a_removed_secret_is_not_queued_any_more() {
        let mut dirty = Dirty::default();
        let (kept, removed) = (SecretRef::new("shop", "kept"), SecretRef::new("shop", "removed"));
        dirty.push(&removed);
        dirty.push(&kept);
        dirty.remove(&removed);
        assert_eq!((dirty.pop(), dirty.pop()), (Some(kept), None));
    }
}
