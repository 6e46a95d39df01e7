//! Last good certificates that left the cache for lack of room while their newest version is rejected: what is dropped
//! of these cannot be loaded again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::certificate::Certificate;
use crate::secret::SecretRef;

/// Pinned certificates, within a bound of bytes.
pub(super) struct Pinned {
    limit: u64,
    state: Mutex<State>,
    /// Spares lookups the lock while nothing is pinned.
    count: AtomicUsize,
}

#[derive(Default)]
struct State {
    certificates: HashMap<SecretRef, Arc<Certificate>, foldhash::fast::RandomState>,
    bytes: u64,
}

impl Pinned {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// Keeps the certificate, and returns what had to be dropped for it: what was used longest ago, or itself if it does
    /// not fit at all.
    pub(super) fn keep(&self, certificate: Arc<Certificate>) -> Vec<Arc<Certificate>> {
        if certificate.bytes() > self.limit {
            return vec![certificate];
        }
        let mut state = self.state();
        let mut dropped = Vec::new();
        dropped.extend(state.take(certificate.secret()));
        while state.bytes + certificate.bytes() > self.limit {
            let Some(oldest) = state.certificates.values().min_by_key(|pinned| pinned.last_used()) else { break };
            let oldest = oldest.secret().clone();
            dropped.extend(state.take(&oldest));
        }
        state.bytes += certificate.bytes();
        state.certificates.insert(certificate.secret().clone(), certificate);
        self.count.store(state.certificates.len(), Relaxed);
        dropped
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        self.state().certificates.get(secret).cloned()
    }

    pub(super) fn take(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let mut state = self.state();
        let taken = state.take(secret);
        self.count.store(state.certificates.len(), Relaxed);
        taken
    }

    /// As [`take`](Self::take), but for this one.
    pub(super) fn take_unless(&self, secret: &SecretRef, kept: &Arc<Certificate>) -> Option<Arc<Certificate>> {
        self.get(secret).filter(|pinned| !Arc::ptr_eq(pinned, kept))?;
        self.take(secret)
    }

    pub(super) fn all(&self) -> Vec<Arc<Certificate>> {
        self.state().certificates.values().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        let taken = self.certificates.remove(secret)?;
        self.bytes -= taken.bytes();
        Some(taken)
    }
}
