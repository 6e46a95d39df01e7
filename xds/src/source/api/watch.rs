//! One watcher: lists its objects, follows their changes, and begins again from wherever that breaks off.
//!
//! Within one connection the server tells changes of an object in their order, and a new connection continues where the
//! last one was; that order is all that is relied on. Versions are opaque: handed back to the server, which compares them
//! (see [`position`]). A server that repeats an old state makes us show it until it says the new one again.
//!
//! Not `kube::runtime::watcher`: one object that cannot be read makes it fail the whole page, again and again; a list
//! that breaks off begins from its first page; it has no way back from a streamed list to a paged one, nor from a
//! version that the server no longer accepts when a watch is begun; and `Retry-After` does not reach it.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kube::Client;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::Options;
use super::backoff::{Backoff, jittered};
use super::decode::{self, Item, Wrong};
use super::gate::{Contact, Gate};
use super::metrics::KindMetrics;
use super::names::Names;
use super::request::Failure;
use super::roster::SecretRoster;
use super::target::Target;
use crate::fault::{Fault, Faults, Finder, Severity, Subject};
use crate::object::{ObjectEvent, ObjectKey, ObjectRef};
use crate::work_queue::WorkQueue;

mod connection;
mod list;
mod permission;
mod position;

/// A connection that lasted so long was a good one, and so was one that brought something, however short: the waits of
/// connections that break off while much happens must not add up.
const LASTED: Duration = Duration::from_secs(5);

/// So often a connection may break at the same place before another way is tried.
const DETOUR: u32 = 3;

/// What all watchers share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) queue: WorkQueue,
    pub(super) gate: Gate,
    pub(super) contact: Contact,
    pub(super) faults: Faults,
    pub(super) options: Options,
    /// Says which Secrets are told; without it, all are.
    pub(super) roster: Option<Arc<SecretRoster>>,
    /// Held while listing, so that the pages of few lists are in memory at a time.
    pub(super) lists: Semaphore,
    /// Counts how often the server was seen to go back.
    pub(super) rewinds: watch::Sender<u64>,
}

/// Follows one target.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    target: Target,
    known: Names,
    /// Objects that are there and cannot be read.
    faulty: HashSet<ObjectRef>,
    /// Where to continue watching; `None` if everything has to be listed.
    position: Option<String>,
    /// The last position, also when it was given up.
    latest: Option<String>,
    /// The server may not have reached the position.
    is_doubtful: bool,
    /// [`Shared::rewinds`] when the last list began.
    rewinds: u64,
    /// Whether the server may be asked to stream a list.
    streamed: bool,
    page_size: u32,
    backoff: Backoff,
    /// Waits while it may not be followed, or isn't there.
    denials: Backoff,
    /// The position of the last complete list, and when it was complete.
    listed: Option<(String, Instant)>,
    /// Waits before lists that became necessary although a list had just been read.
    relists: Backoff,
    /// How often a connection broke and brought nothing.
    stuck: u32,
    said: Said,
    metrics: KindMetrics,
}

/// What has been said of a target.
#[derive(Debug, Default)]
struct Said {
    /// That everything has been listed once, or cannot be.
    passed: bool,
    /// That the server does not answer.
    lost: bool,
    /// A fault of the target as a whole.
    fault: bool,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, target: Target) -> Self {
        let options = &shared.options;
        Self {
            backoff: Backoff::new(options.first_retry, options.longest_retry),
            denials: Backoff::new(options.first_retry, options.slow_retry),
            relists: Backoff::new(options.first_retry, options.longest_retry),
            listed: None,
            streamed: options.streamed_lists,
            page_size: options.page_size,
            metrics: KindMetrics::new(target.kind),
            known: Names::of(&target, shared.roster.as_ref()),
            faulty: HashSet::new(),
            position: None,
            latest: None,
            is_doubtful: false,
            rewinds: 0,
            stuck: 0,
            said: Said::default(),
            shared,
            target,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        loop {
            let (begun, position) = (Instant::now(), self.position.clone());
            // What a panic leaves is consistent enough: names of objects, which the list that follows puts right.
            let Ok(result) = AssertUnwindSafe(self.follow()).catch_unwind().await else {
                let pause = self.panicked();
                sleep(pause).await;
                continue;
            };
            let was_good = self.position != position || begun.elapsed() >= LASTED;
            if self.position != position {
                self.stuck = 0;
            }
            self.is_doubtful |= result.is_err();
            if self.has_watched() {
                self.relists.reset();
            }
            let pause = match result {
                Ok(()) if was_good => self.worked(),
                Ok(()) => self.backoff.fail(),
                Err(failure) => self.failed(&failure, was_good),
            };
            sleep(pause).await;
        }
    }

    /// A mistake of ours must not leave a kind silently dead: everything is listed anew, after a while.
    fn panicked(&mut self) -> Duration {
        self.metrics.failed("panic");
        self.metrics.restarted();
        self.position = None;
        let pause = self.backoff.fail();
        let seconds = pause.as_secs_f64();
        tracing::error!(target = %self.target, seconds, "a watcher panicked and begins anew; what is known stays");
        pause
    }

    /// Lists everything, if it has to, and watches until the server ends it.
    async fn follow(&mut self) -> Result<(), Failure> {
        self.look_back();
        if self.position.is_none() && self.streamed {
            return self.stream().await;
        }
        if self.position.is_none() {
            self.list().await?;
        }
        self.watch().await
    }

    /// A connection ended as it should. The next one follows at once, yet not at the same moment as everyone's.
    fn worked(&mut self) -> Duration {
        self.backoff.reset();
        jittered(Duration::from_millis(200))
    }

    /// Decides where to go on after a failure, and when.
    fn failed(&mut self, failure: &Failure, was_good: bool) -> Duration {
        self.metrics.failed(failure.reason());
        if self.falls_back(failure) {
            tracing::debug!(target = %self.target, error = %failure, "lists are read in pages from now on");
            self.streamed = false;
            return Duration::ZERO;
        }
        if let Some(pause) = self.not_allowed(failure) {
            return pause;
        }
        if was_good {
            self.backoff.reset();
        }
        if !matches!(failure, Failure::Behind { .. }) {
            self.lose(failure);
        }
        match failure.code() {
            Some(410) if self.position.is_none() => self.page_size = self.page_size.saturating_mul(2).min(MAX_PAGE),
            // 400: a position of another cluster or storage. 504: one that the server has not reached, after it
            // was restored from a backup.
            Some(400 | 410 | 422 | 504) => self.position = None,
            Some(_) => {}
            None if matches!(failure, Failure::Behind { .. }) => self.position = None,
            None => self.make_detour(failure),
        }
        let mut pause = self.backoff.fail().max(failure.retry_after().unwrap_or_default());
        if self.position.is_none() {
            pause = pause.max(self.relists.fail());
        }
        tracing::debug!(target = %self.target, error = %failure, seconds = pause.as_secs_f64(), "watch broke off");
        pause
    }

    /// Whether the list that was read last could be followed: a server that lets each list expire at once would
    /// otherwise be asked for all there is again and again.
    fn has_watched(&self) -> bool {
        self.listed.as_ref().is_some_and(|(position, at)| {
            self.position.as_ref().is_some_and(|now| now != position) || at.elapsed() >= LASTED
        })
    }

    /// A connection that breaks again and again at the same place, or a line there that cannot be read, is got round:
    /// by a list, and by one in pages if it is a streamed list that breaks.
    fn make_detour(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Unreachable { .. } | Failure::Stalled { .. }) {
            return;
        }
        self.stuck += 1;
        if self.stuck >= DETOUR {
            self.stuck = 0;
            self.streamed &= self.position.is_some();
            self.position = None;
        }
    }

    /// Whether a failure says that the server cannot stream lists.
    fn falls_back(&self, failure: &Failure) -> bool {
        let refused = matches!(failure.code(), Some(400 | 405 | 406 | 422));
        let silent = matches!(failure, Failure::Stalled { .. });
        self.streamed && self.position.is_none() && (refused || silent)
    }

    /// Everything there is has been said once.
    fn pass(&mut self) {
        if !std::mem::replace(&mut self.said.passed, true) {
            self.shared.gate.pass(&self.shared.queue);
        }
    }

    /// A complete list begins.
    fn begin(&mut self) {
        self.metrics.relisted();
        self.rewinds = *self.shared.rewinds.borrow();
        self.known.begin();
    }

    /// A complete list has been read: what it lacks does not exist.
    async fn complete(&mut self, position: String) {
        let before = self.known.len();
        for object in self.known.sweep() {
            let key = ObjectKey { kind: self.target.kind, object };
            self.mend(&key);
            self.shared.queue.push(key.clone(), ObjectEvent::Deleted(key), 0).await;
        }
        self.metrics.known(before, self.known.len());
        self.arrive(&position).await;
        self.listed = Some((position.clone(), Instant::now()));
        self.position = Some(position);
        self.is_doubtful = false;
        self.backoff.reset();
        self.pass();
    }

    /// An object is there, in this state. Returns its version.
    async fn apply(&mut self, json: &str) -> Option<String> {
        let item = match decode::item(self.target.kind, json) {
            Ok(item) => item,
            Err(error) => {
                self.metrics.failed("nameless");
                let error = super::request::place(&error);
                tracing::warn!(target = %self.target, error, "an object without a name is left out");
                return None;
            }
        };
        let Item { key, version, object } = item;
        let before = self.known.len();
        let is_told = self.known.insert(&key.object, &version);
        self.metrics.known(before, self.known.len());
        match object {
            Ok(object) => {
                self.mend(&key);
                if is_told {
                    let object = self.with_type(object);
                    self.shared.queue.push(key, ObjectEvent::Applied(object), json.len()).await;
                }
            }
            Err(wrong) => self.reject(key, wrong),
        }
        Some(version)
    }

    /// An object is gone. Returns its version.
    async fn delete(&mut self, json: &str) -> Option<String> {
        let (key, version) = decode::head(self.target.kind, json).ok()?;
        let before = self.known.len();
        let is_told = self.known.remove(&key.object);
        self.metrics.known(before, self.known.len());
        self.mend(&key);
        if is_told {
            self.shared.queue.push(key.clone(), ObjectEvent::Deleted(key), 0).await;
        }
        Some(version)
    }

    /// The last good state stays in effect.
    fn reject(&mut self, key: ObjectKey, wrong: Wrong) {
        self.metrics.failed("malformed");
        self.faulty.insert(key.object.clone());
        let subject = Subject::Object(key);
        let Wrong { field, message } = wrong;
        let fault = Fault { subject: subject.clone(), field, message, severity: Severity::Error };
        self.shared.faults.set(Finder::Source, subject, vec![fault]);
    }

    fn mend(&mut self, key: &ObjectKey) {
        if !self.faulty.is_empty() && self.faulty.remove(&key.object) {
            self.shared.faults.set(Finder::Source, Subject::Object(key.clone()), Vec::new());
        }
    }
}

/// Pages grow to this when lists expire before their end.
const MAX_PAGE: u32 = 8_000;
