//! What the Kubernetes source counts.

use std::time::{Duration, SystemTime};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::object::ObjectKind;
use crate::work_queue::Backlog;

const QUEUE_DEPTH: &str = "postern_source_queue_depth";
const QUEUE_AGE: &str = "postern_source_queue_age_seconds";
const EVENTS: &str = "postern_source_events_total";
const RELISTS: &str = "postern_source_relists_total";
const CHECKS: &str = "postern_source_position_checks_total";
const ERRORS: &str = "postern_source_errors_total";
const LAST_EVENT: &str = "postern_source_last_event_timestamp_seconds";
const KNOWN: &str = "postern_source_objects_known";
const REQUESTS: &str = "postern_source_api_requests_total";
const BROKEN: &str = "postern_source_watches_broken";
const RESTARTS: &str = "postern_source_watcher_restarts_total";
const LISTED: &str = "postern_source_listed_seconds";

/// Says what the metrics of the Kubernetes source mean.
pub fn describe_metrics() {
    describe_gauge!(QUEUE_DEPTH, "Objects whose change waits for being taken.");
    describe_gauge!(QUEUE_AGE, "How long the first change that waits has waited.");
    describe_counter!(EVENTS, "Objects that the API server told of, in lists and watches, by kind.");
    describe_counter!(RELISTS, "Complete lists that were begun, by kind.");
    describe_counter!(
        CHECKS,
        "Questions to the API server whether it has reached the version that a silent or broken watch was at, by kind and \
         outcome; `behind` leads to a new list."
    );
    describe_counter!(ERRORS, "Requests that failed and objects that could not be read, by kind and reason.");
    describe_gauge!(LAST_EVENT, "When the API server last said something about a kind (Unix time).");
    describe_gauge!(KNOWN, "Objects that exist, by kind.");
    describe_counter!(REQUESTS, "Requests to the API server, by verb and outcome.");
    describe_gauge!(BROKEN, "Watches that the API server does not answer at present.");
    describe_counter!(
        RESTARTS,
        "Watchers that panicked and began anew, by kind; a mistake in Postern, to be reported."
    );
    describe_gauge!(LISTED, "How long it took until everything had been listed once.");
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
        }
    }
}

/// A request has been answered, or not.
pub(super) fn requested(verb: Verb, outcome: &'static str) {
    counter!(REQUESTS, "verb" => verb.as_str(), "outcome" => outcome).increment(1);
}

/// What waits in the queue.
pub(super) fn backlog(backlog: Backlog) {
    gauge!(QUEUE_DEPTH).set(backlog.objects as f64);
    gauge!(QUEUE_AGE).set(backlog.age.as_secs_f64());
}

/// So many watches get no answer.
pub(super) fn broken(watches: usize) {
    gauge!(BROKEN).set(watches as f64);
}

/// Everything has been listed once.
pub(super) fn listed(after: Duration) {
    gauge!(LISTED).set(after.as_secs_f64());
}

/// What is counted per kind.
#[derive(Clone, Debug)]
pub(super) struct KindMetrics {
    kind: ObjectKind,
    events: Counter,
    last: Gauge,
    known: Gauge,
}

impl KindMetrics {
    pub(super) fn new(kind: ObjectKind) -> Self {
        let kind_label = kind.as_str();
        Self {
            kind,
            events: counter!(EVENTS, "kind" => kind_label),
            last: gauge!(LAST_EVENT, "kind" => kind_label),
            known: gauge!(KNOWN, "kind" => kind_label),
        }
    }

    /// So many objects have been told of.
    pub(super) fn told(&self, objects: u64) {
        self.events.increment(objects);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last.set(now.as_secs_f64());
    }

    /// The number of objects that exist has changed by so much.
    pub(super) fn known(&self, before: usize, now: usize) {
        self.known.increment(now as f64 - before as f64);
    }

    pub(super) fn relisted(&self) {
        counter!(RELISTS, "kind" => self.kind.as_str()).increment(1);
    }

    /// The server was asked whether it has reached a version.
    pub(super) fn verified(&self, outcome: &'static str) {
        counter!(CHECKS, "kind" => self.kind.as_str(), "outcome" => outcome).increment(1);
    }

    pub(super) fn restarted(&self) {
        counter!(RESTARTS, "kind" => self.kind.as_str()).increment(1);
    }

    pub(super) fn failed(&self, reason: &'static str) {
        counter!(ERRORS, "kind" => self.kind.as_str(), "reason" => reason).increment(1);
    }
}
