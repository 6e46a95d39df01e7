//! What happens in the cluster by itself: stages, pods with real backends, EndpointSlices that follow them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::kind::Kind;
use super::object::Key;
use super::stages::{Context, Schedule, Stages, advance};
use super::store::Verdict;
use crate::ca::TestCa;

mod pods;
pub(super) mod workload;

pub use pods::Pods;

/// The kinds to which something happens.
const KINDS: [Kind; 4] = [Kind::Pod, Kind::Secret, Kind::Service, Kind::KIngress];

/// How many changes are looked at before what is due is done.
const BATCH: usize = 1_024;

/// How soon a pod's backend is tried again whose address was not free.
const RETRY: Duration = Duration::from_millis(50);

/// What happens by itself. One task owns it; what it knows of an object it reads from the store when the object has changed.
#[derive(Debug)]
pub(super) struct Simulation {
    shared: Arc<Shared>,
    ca: Arc<TestCa>,
    schedule: Schedule,
    followed: Vec<Followed>,
    again: HashSet<Key>,
}

/// A kind whose changes are followed.
#[derive(Debug)]
struct Followed {
    kind: Kind,
    cursor: u64,
    changed: watch::Receiver<u64>,
    known: HashSet<Key>,
}

impl Simulation {
    pub(super) fn new(shared: Arc<Shared>, ca: Arc<TestCa>, stages: &Stages, seed: u64) -> Self {
        let schedule = Schedule::new(stages, seed);
        let followed = KINDS
            .into_iter()
            .filter(|kind| matches!(kind, Kind::Pod | Kind::Service) || schedule.concerns(*kind))
            .map(|kind| Followed { kind, cursor: 0, changed: shared.store.subscribe(kind), known: HashSet::new() })
            .collect();
        Self { shared, ca, schedule, followed, again: HashSet::new() }
    }

    /// Goes on until cancelled.
    pub(super) async fn run(mut self, ends: CancellationToken) {
        loop {
            for key in std::mem::take(&mut self.again) {
                self.attend(Kind::Pod, &key).await;
            }
            let any_changed = self.follow_changes().await;
            let any_due = self.do_what_is_due();
            if any_changed || any_due {
                // Whoever waits for one of these changes gets a turn.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.schedule.next_due().map(|due| self.shared.clock.instant(due));
            let retry = (!self.again.is_empty()).then(|| Instant::now() + RETRY);
            let wake = due.into_iter().chain(retry).min();
            let changed = select_all(self.followed.iter_mut().map(|followed| Box::pin(followed.changed.changed())));
            tokio::select! {
                () = ends.cancelled() => return,
                // The senders are in the shared state, which this task holds.
                _changed = changed => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Attends to what has changed; whether anything had.
    async fn follow_changes(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.followed.len() {
            let changed = self.followed[index].take(&self.shared);
            any |= !changed.is_empty();
            for key in changed {
                self.attend(self.followed[index].kind, &key).await;
            }
        }
        any
    }

    /// Lets everything follow an object's present state.
    async fn attend(&mut self, kind: Kind, key: &Key) {
        let object = self.shared.store.get(kind, key).map(|object| object.value());
        self.schedule.observe(self.shared.clock.elapsed(), kind, key, object.as_ref());
        match kind {
            Kind::Pod => {
                if self.shared.pods.follow(key, object.as_ref()).await.is_err() {
                    self.again.insert(Arc::clone(key));
                }
                if let Some(service) = workload::service_of(key) {
                    workload::reconcile(&self.shared, &service);
                }
            }
            Kind::Service => workload::reconcile(&self.shared, key),
            _ => {}
        }
    }

    /// Carries out the stages that are due; whether any was.
    fn do_what_is_due(&mut self) -> bool {
        let mut any = false;
        while let Some((kind, key, stage)) = self.schedule.take_due(self.shared.clock.elapsed()) {
            any = true;
            let context = Context { clock: &self.shared.clock, ca: &self.ca };
            // An object that has changed meanwhile is observed below, and gets the stage that now matches.
            let _done_or_changed = self.shared.store.write(kind, &key, |old| advance(kind, &key, old, &stage, context));
            let object = self.shared.store.get(kind, &key).map(|object| object.value());
            self.schedule.observe(self.shared.clock.elapsed(), kind, &key, object.as_ref());
        }
        any
    }
}

impl Followed {
    /// The objects that have changed since the last time; all of them if the store no longer knows.
    fn take(&mut self, shared: &Shared) -> HashSet<Key> {
        self.changed.borrow_and_update();
        if let Ok((changes, up_to)) = shared.store.changes(self.kind, self.cursor, BATCH) {
            self.cursor = up_to;
            for change in &changes {
                if change.verdict == Verdict::Deleted {
                    self.known.remove(&change.key);
                } else {
                    self.known.insert(Arc::clone(&change.key));
                }
            }
            return changes.iter().map(|change| Arc::clone(&change.key)).collect();
        }
        let snapshot = shared.store.snapshot(self.kind);
        self.cursor = snapshot.revision;
        let mut all: HashSet<Key> = snapshot.objects.keys().cloned().collect();
        let before = std::mem::replace(&mut self.known, all.clone());
        all.extend(before);
        all
    }
}
