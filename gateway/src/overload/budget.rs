//! Who decides how much the certificate cache may have: settings and plan, and what memory there is.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use certstore::CertStore;

use super::plan::CACHE_FLOOR;
use crate::allocator;

/// A step in which the cache grows after memory was short, as a share of what is wanted: what a step takes is seen before
/// the next one.
const STEP_SHARE: u64 = 4;

/// The cache is moved together when at least this share of it has gone.
const WORTH_GATHERING: u64 = 8;

/// The budget of the certificate cache. Everything that changes it goes through here.
#[derive(Debug)]
pub(crate) struct CertBudget {
    certs: Arc<CertStore>,
    state: Mutex<State>,
    /// Wakes the thread that moves what is left together.
    gather: Option<SyncSender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// In bytes.
    wanted: u64,
    /// While memory is short, and afterwards until there has been room for all that is wanted: no more than this.
    allowed: Option<u64>,
}

impl CertBudget {
    /// `wanted` is what the store was built with.
    pub(crate) fn new(certs: Arc<CertStore>, wanted: u64) -> Self {
        Self { certs, state: Mutex::new(State { wanted, allowed: None }), gather: None }
    }

    /// Begins to move the cache together each time much of it has gone, on a thread of its own that ends with this.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn gathering(mut self) -> io::Result<Self> {
        // One wake-up is enough: what is moved is what is cached then.
        let (wake, woken) = sync_channel(1);
        let certs = Arc::clone(&self.certs);
        thread::Builder::new().name("postern-gather".to_owned()).spawn(move || gather(&certs, &woken))?;
        self.gather = Some(wake);
        Ok(self)
    }

    /// From now on it is so many bytes, or as soon as there is memory for it.
    pub(super) fn want(&self, bytes: u64) {
        self.change(|state| state.wanted = bytes);
    }

    /// Bytes of memory that encrypted copies take when all that may be kept are there.
    pub(super) fn sealed(&self) -> u64 {
        self.certs.stats().sealed.map_or(0, |sealed| sealed.memory)
    }

    /// Bytes that certificates and encrypted copies take now.
    pub(super) fn held(&self) -> u64 {
        let stats = self.certs.stats();
        stats.bytes + stats.sealed.map_or(0, |sealed| sealed.memory)
    }

    /// What is wanted, in bytes.
    pub(super) fn wanted(&self) -> u64 {
        self.state().wanted
    }

    /// The cache has its floor only, until [`grow`](Self::grow) gives it more.
    pub(super) fn shrink(&self) {
        self.change(|state| state.allowed = Some(CACHE_FLOOR));
    }

    /// Whether it has less than what is wanted.
    pub(super) fn is_held_back(&self) -> bool {
        self.state().allowed.is_some()
    }

    /// Gives the cache more of what is wanted: a step, and no more than `room` bytes above what it holds now. If it had all
    /// again at once, it would fill up and have to shrink again.
    pub(super) fn grow(&self, room: u64) {
        let held = self.certs.stats().bytes;
        self.change(|state| {
            let Some(allowed) = state.allowed else { return };
            let step = (state.wanted / STEP_SHARE).max(CACHE_FLOOR);
            let next = allowed.saturating_add(step).min(held.saturating_add(room)).max(allowed);
            state.allowed = Some(next).filter(|next| *next < state.wanted);
        });
    }

    /// Under the lock, so that of two changes the later one stays.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let before = *state;
        change(&mut state);
        if *state == before {
            return;
        }
        let held = self.certs.stats().bytes;
        match state.allowed {
            None => self.certs.set_budget(state.wanted),
            Some(allowed) => self.certs.shrink_to(state.wanted.min(allowed)),
        }
        if let Some(gather) = &self.gather
            && self.certs.stats().bytes < held - held / WORTH_GATHERING
        {
            // Full: it is about to begin anyway.
            let _ = gather.try_send(());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves what the cache has kept together, and gives back the pages that become free.
fn gather(certs: &CertStore, woken: &Receiver<()>) {
    // What is freed must not be kept for this thread's own use, and goes to where other certificates are.
    allocator::keep_certificates();
    while woken.recv().is_ok() {
        let began = Instant::now();
        let mut working = began;
        // Half of a processor at most: those who wait for handshakes come first.
        let moved = certs.gather(|| {
            thread::park_timeout(working.elapsed());
            working = Instant::now();
            true
        });
        allocator::give_back();
        tracing::info!(
            moved,
            seconds = began.elapsed().as_secs_f64(),
            "moved what is left of the certificate cache together"
        );
    }
}

#[cfg(test)]
mod tests {
    use certstore::testing::ScriptedSource;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget(wanted: u64) -> CertBudget {
        CertBudget::new(CertStore::builder(ScriptedSource::new()).budget(wanted).build(), wanted)
    }

    fn now(budget: &CertBudget) -> u64 {
        budget.certs.stats().budget
    }

    #[tokio::test]
    async fn while_it_is_shrunk_a_budget_waits() {
        let budget = budget(32 * MIB);
        budget.shrink();
        assert_eq!(now(&budget), CACHE_FLOOR);
        budget.want(64 * MIB);
        assert_eq!((now(&budget), budget.wanted()), (CACHE_FLOOR, 64 * MIB));
        budget.want(MIB);
        assert_eq!(now(&budget), MIB, "less than the floor is what was asked for");
        budget.want(64 * MIB);
        assert_eq!(now(&budget), CACHE_FLOOR);
        assert!(budget.is_held_back());
    }

    #[tokio::test]
    async fn after_a_shortage_it_grows_in_steps_as_far_as_there_is_room() {
        let budget = budget(64 * MIB);
        budget.shrink();
        budget.grow(u64::MAX);
        assert_eq!(now(&budget), CACHE_FLOOR + 16 * MIB);
        // Nothing is cached, so that the room is for all of it.
        budget.grow(20 * MIB);
        assert_eq!(now(&budget), 20 * MIB);
        budget.grow(0);
        assert_eq!(now(&budget), 20 * MIB, "only a shortage takes back what was given");
        for _ in 0..3 {
            assert!(budget.is_held_back());
            budget.grow(u64::MAX);
        }
        assert_eq!((now(&budget), budget.is_held_back()), (64 * MIB, false));
        budget.shrink();
        assert_eq!(now(&budget), CACHE_FLOOR);
    }
}
