//! Which objects' status is to be written: level-triggered, by the object's slot alone.
//!
//! Facts put an object in and take it out; whoever writes takes it in hand and says what came of it. What fails comes
//! back later, and later each time; what was written is looked at again, unless a watch has shown it by then. So nothing
//! is lost, whatever happens to a write, and nothing waits behind what fails.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::published::Print;
use crate::source::api::jittered;

/// The slot of an object among the translator's records.
pub(crate) type Id = u32;

/// The wait after a first failure.
const FIRST: Duration = Duration::from_millis(100);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(30);

/// A watch shows a write within this; if not, it is written again.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

/// Objects whose status differs from what it should be.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Id, Entry, foldhash::fast::RandomState>,
    /// Those that are due, oldest first. May name some that no longer are.
    due: VecDeque<Id>,
    later: BTreeSet<(Instant, Id)>,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    stage: Stage,
    /// What its status should be, and what was written or tried last.
    wanted: Print,
    tried: Print,
    /// How often that has been tried.
    returns: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Due,
    InHand,
    Later(Instant),
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is nothing to write.
    Settled,
    /// It was written; a watch will show it.
    Written,
    /// It was sent, and whether it was written is not known; a watch may show it.
    Unknown,
    /// It could not be, or not yet. The server may have said when to come back.
    Failed(Option<Duration>),
}

/// How much waits, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Objects whose status differs.
    pub(crate) objects: usize,
    /// How long the first of them has.
    pub(crate) age: Duration,
}

impl Queue {
    /// The status of this object differs from this, which it should be. What waits keeps its place. What was tried
    /// already, or comes after a `pause`, keeps its delay, unless something else is wanted by now.
    pub(crate) fn add(&self, id: Id, wanted: Print, pause: Duration) {
        let mut guard = self.state();
        let State { entries, due, later } = &mut *guard;
        match entries.entry(id) {
            Place::Vacant(place) => {
                let since = Instant::now();
                let stage = if pause.is_zero() { Stage::Due } else { Stage::Later(since + pause) };
                place.insert(Entry { since, stage, wanted, tried: wanted, returns: 0 });
                if let Stage::Later(at) = stage {
                    later.insert((at, id));
                    drop(guard);
                    // Who waits for the next one that ripens may have to wait for less now.
                    self.work.notify_one();
                    return;
                }
            }
            Place::Occupied(mut there) => {
                let entry = there.get_mut();
                entry.wanted = wanted;
                let Stage::Later(at) = entry.stage else { return };
                if entry.tried == wanted {
                    return;
                }
                if !pause.is_zero() && entry.returns == 0 {
                    // It has not been tried yet, and what is held back still is.
                    entry.tried = wanted;
                    return;
                }
                later.remove(&(at, id));
                (entry.stage, entry.returns) = (Stage::Due, 0);
            }
        }
        due.push_back(id);
        drop(guard);
        self.work.notify_one();
    }

    /// It no longer differs, or is gone.
    pub(crate) fn remove(&self, id: Id) {
        let mut state = self.state();
        if let Some(Entry { stage: Stage::Later(at), .. }) = state.entries.remove(&id) {
            state.later.remove(&(at, id));
        }
        state.forget_stale();
    }

    /// Takes the first one in hand; waits if there is none. Cancel-safe.
    pub(crate) async fn take(self: &Arc<Self>) -> InHand {
        loop {
            let next = {
                let mut state = self.state();
                state.ripen(Instant::now());
                if let Some(id) = state.take() {
                    return InHand {
                        queue: Arc::clone(self),
                        id,
                        tried: Print::default(),
                        outcome: Outcome::Failed(None),
                    };
                }
                state.later.first().map(|(at, _)| *at)
            };
            tokio::select! {
                () = self.work.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// How much waits at present.
    pub(crate) fn backlog(&self) -> Backlog {
        let state = self.state();
        let age = state.entries.values().map(|entry| entry.since).min().map_or(Duration::ZERO, |first| first.elapsed());
        Backlog { objects: state.entries.len(), age }
    }

    fn settle(&self, id: Id, tried: Print, outcome: Outcome) {
        let mut state = self.state();
        let State { entries, due, later } = &mut *state;
        let Some(entry) = entries.get_mut(&id).filter(|entry| entry.stage == Stage::InHand) else { return };
        let wait = match outcome {
            Outcome::Settled => {
                entries.remove(&id);
                return;
            }
            Outcome::Written | Outcome::Unknown if entry.wanted != tried => Duration::ZERO,
            Outcome::Unknown => jittered(doubled(CONFIRMED_WITHIN, entry.returns).min(LONGEST)),
            Outcome::Written => jittered(doubled(CONFIRMED_WITHIN, entry.returns).min(LONGEST * 10)),
            Outcome::Failed(told) => jittered(doubled(FIRST, entry.returns).min(LONGEST)).max(told.unwrap_or_default()),
        };
        entry.tried = tried;
        entry.returns = entry.returns.saturating_add(1);
        if wait.is_zero() {
            (entry.stage, entry.returns) = (Stage::Due, 0);
            due.push_back(id);
        } else {
            let at = Instant::now() + wait;
            entry.stage = Stage::Later(at);
            later.insert((at, id));
        }
        drop(state);
        self.work.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those whose delay is over are due.
    fn ripen(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.later.first().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stage = Stage::Due;
                self.due.push_back(id);
            }
        }
    }

    fn take(&mut self) -> Option<Id> {
        while let Some(id) = self.due.pop_front() {
            if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.stage == Stage::Due) {
                entry.stage = Stage::InHand;
                return Some(id);
            }
        }
        None
    }

    /// Where nobody takes, as without leadership, what came and went must not pile up.
    fn forget_stale(&mut self) {
        if self.due.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            let mut seen = hashbrown::HashSet::new();
            self.due.retain(|id| entries.get(id).is_some_and(|entry| entry.stage == Stage::Due) && seen.insert(*id));
        }
    }
}

fn doubled(first: Duration, times: u8) -> Duration {
    first.saturating_mul(1 << times.min(20))
}

/// An object that is in hand. Dropped, it comes back after a while, unless [`InHand::end`] says otherwise.
#[derive(Debug)]
pub(crate) struct InHand {
    queue: Arc<Queue>,
    id: Id,
    tried: Print,
    outcome: Outcome,
}

impl InHand {
    /// The object's slot.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Says what will be written.
    pub(crate) fn tries(&mut self, wanted: Print) {
        self.tried = wanted;
    }

    /// Says that it is sent now. Dropped from now on, the object comes back only if no watch shows it.
    pub(crate) fn sends(&mut self) {
        self.outcome = Outcome::Unknown;
    }

    /// Says what came of it.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.queue.settle(self.id, self.tried, self.outcome);
    }
}

#[cfg(test)]
mod tests;
