//! What has changed and is not taken yet: per object, its latest state.
//!
//! Level-triggered. A change of an object that waits already replaces what waits and keeps its place, so nothing is
//! ever cancelled before it is replaced, and nothing is compared by version. The number of objects and bytes that wait
//! is bounded: when the queue is full, [`WorkQueue::push`] waits, and its caller reads no further from its watch.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::object::{ObjectEvent, ObjectKey};

/// At most so many events leave in one batch.
const BATCH: usize = 512;

/// A batch ends when it holds so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Objects.
    pub(crate) objects: usize,
    /// Bytes, as their JSON was. One object may always wait, whatever its size.
    pub(crate) bytes: usize,
}

/// Changes of objects on their way from many watches to one reader.
#[derive(Debug)]
pub(crate) struct WorkQueue {
    bounds: Bounds,
    state: Mutex<State>,
    space: Notify,
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<ObjectKey, Waiting, foldhash::fast::RandomState>,
    order: VecDeque<ObjectKey>,
    bytes: usize,
    /// How many keys have ever entered, and left, [`State::order`].
    entered: u64,
    left: u64,
    synced: Synced,
}

#[derive(Debug)]
struct Waiting {
    event: ObjectEvent,
    bytes: usize,
    since: Instant,
}

/// Whether everything has been said once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Synced {
    #[default]
    NotYet,
    /// It has, once so many keys have left.
    After(u64),
    Said,
}

/// How much waits, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Objects that wait.
    pub(crate) objects: usize,
    /// How long the first of them has waited.
    pub(crate) age: Duration,
}

impl WorkQueue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), space: Notify::new(), work: Notify::new() }
    }

    /// An object is now as `event` says, which takes about `bytes`. Waits while the queue is full. If dropped while it
    /// waits, the change is not in the queue.
    pub(crate) async fn push(&self, key: ObjectKey, event: ObjectEvent, bytes: usize) {
        let mut waiting = Waiting { event, bytes, since: Instant::now() };
        loop {
            let mut space = std::pin::pin!(self.space.notified());
            space.as_mut().enable();
            match self.try_push(&key, waiting) {
                Ok(replaced) => {
                    self.work.notify_one();
                    drop(replaced);
                    return;
                }
                Err(refused) => waiting = refused,
            }
            space.await;
        }
    }

    /// Everything that exists has been pushed once.
    pub(crate) fn mark_synced(&self) {
        let mut state = self.state();
        if state.synced == Synced::NotYet {
            state.synced = Synced::After(state.entered);
        }
        drop(state);
        self.work.notify_one();
    }

    /// What has waited longest, never nothing. For one reader. If dropped, nothing has been taken.
    pub(crate) async fn take(&self) -> Vec<ObjectEvent> {
        loop {
            let batch = self.state().take();
            if !batch.is_empty() {
                self.space.notify_waiters();
                return batch;
            }
            self.work.notified().await;
        }
    }

    /// How much waits at present.
    pub(crate) fn backlog(&self) -> Backlog {
        let state = self.state();
        let first = state.order.front().and_then(|key| state.waiting.get(key));
        Backlog { objects: state.order.len(), age: first.map_or(Duration::ZERO, |first| first.since.elapsed()) }
    }

    /// Returns what was replaced, so that it is dropped without the lock; or gives back what does not fit.
    fn try_push(&self, key: &ObjectKey, waiting: Waiting) -> Result<Option<Waiting>, Waiting> {
        let mut state = self.state();
        let state = &mut *state;
        let full = state.order.len() >= self.bounds.objects || state.bytes + waiting.bytes > self.bounds.bytes;
        match state.waiting.entry_ref(key) {
            EntryRef::Occupied(mut there) => {
                let there = there.get_mut();
                state.bytes = state.bytes + waiting.bytes - there.bytes;
                let since = there.since;
                Ok(Some(std::mem::replace(there, Waiting { since, ..waiting })))
            }
            EntryRef::Vacant(_) if full && !state.order.is_empty() => Err(waiting),
            EntryRef::Vacant(place) => {
                state.bytes += waiting.bytes;
                place.insert(waiting);
                state.order.push_back(key.clone());
                state.entered += 1;
                Ok(None)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Vec<ObjectEvent> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES && !self.sync_is_due() {
            let Some(key) = self.order.pop_front() else { break };
            self.left += 1;
            if let Some(waiting) = self.waiting.remove(&key) {
                self.bytes -= waiting.bytes;
                bytes += waiting.bytes;
                batch.push(waiting.event);
            }
        }
        if self.sync_is_due() {
            self.synced = Synced::Said;
            batch.push(ObjectEvent::Synced);
        }
        batch
    }

    fn sync_is_due(&self) -> bool {
        matches!(self.synced, Synced::After(entered) if self.left >= entered)
    }
}

#[cfg(test)]
mod tests;
