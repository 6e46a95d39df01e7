//! Who decides how much the certificate cache may have: settings and plan, until memory runs short.

use std::sync::{Arc, Mutex, PoisonError};

use certstore::CertStore;

use super::plan::CACHE_FLOOR;

/// The budget of the certificate cache. Everything that changes it goes through here.
#[derive(Debug)]
pub(crate) struct CertBudget {
    certs: Arc<CertStore>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// In bytes.
    wanted: u64,
    is_shrunk: bool,
}

impl CertBudget {
    /// `wanted` is what the store was built with.
    pub(crate) fn new(certs: Arc<CertStore>, wanted: u64) -> Self {
        Self { certs, state: Mutex::new(State { wanted, is_shrunk: false }) }
    }

    /// From now on it is so many bytes, or as soon as there is memory for it.
    pub(super) fn want(&self, bytes: u64) {
        self.change(|state| state.wanted = bytes);
    }

    /// Whether the cache has its floor only.
    pub(super) fn shrink(&self, is_shrunk: bool) {
        self.change(|state| state.is_shrunk = is_shrunk);
    }

    /// Under the lock, so that of two changes the later one stays.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.bytes();
        change(&mut state);
        if state.bytes() != before {
            self.certs.set_budget(state.bytes());
        }
    }
}

impl State {
    fn bytes(self) -> u64 {
        if self.is_shrunk { self.wanted.min(CACHE_FLOOR) } else { self.wanted }
    }
}

#[cfg(test)]
mod tests {
    use certstore::testing::ScriptedSource;

    use super::*;

    #[tokio::test]
    async fn while_it_is_shrunk_a_budget_waits() {
        let certs = CertStore::builder(ScriptedSource::new()).budget(32 << 20).build();
        let budget = CertBudget::new(Arc::clone(&certs), 32 << 20);
        let now = || certs.stats().budget;
        budget.shrink(true);
        assert_eq!(now(), CACHE_FLOOR);
        budget.want(64 << 20);
        assert_eq!(now(), CACHE_FLOOR);
        budget.want(1 << 20);
        assert_eq!(now(), 1 << 20, "less than the floor is what was asked for");
        budget.want(64 << 20);
        budget.shrink(false);
        assert_eq!(now(), 64 << 20);
    }
}
