//! What writing status tells the operator.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::queue::Backlog;

const QUEUE_DEPTH: &str = "postern_status_queue_depth";
const QUEUE_AGE: &str = "postern_status_queue_age_seconds";
const WRITES: &str = "postern_status_writes_total";
const PROBES: &str = "postern_status_probes_total";
const IS_LEADER: &str = "postern_status_is_leader";
const EVENTS: &str = "postern_status_events_total";

/// Says what the metrics of status mean.
pub fn describe_metrics() {
    describe_gauge!(QUEUE_DEPTH, "Objects whose status differs from what it should be.");
    describe_gauge!(QUEUE_AGE, "How long the status of the first of them has differed.");
    describe_counter!(WRITES, "Patches of objects for their status, by what is written and outcome.");
    describe_counter!(PROBES, "Questions to other gateways whether they serve an object, by outcome.");
    describe_gauge!(IS_LEADER, "Whether this gateway holds the lease and writes status.");
    describe_counter!(EVENTS, "Kubernetes Events for rejected objects, by outcome.");
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    KIngressStatus,
    IngressStatus,
    Finalizer,
}

/// Something was written, or was not.
pub(super) fn wrote(what: What, outcome: &'static str) {
    let what = match what {
        What::KIngressStatus => "kingress_status",
        What::IngressStatus => "ingress_status",
        What::Finalizer => "finalizer",
    };
    counter!(WRITES, "what" => what, "outcome" => outcome).increment(1);
}

/// Another gateway has answered, or has not.
pub(super) fn probed(outcome: &'static str) {
    counter!(PROBES, "outcome" => outcome).increment(1);
}

/// An Event was recorded, or was not.
pub(super) fn recorded(outcome: &'static str) {
    counter!(EVENTS, "outcome" => outcome).increment(1);
}

/// Who writes.
pub(super) fn is_leader(is_held: bool) {
    gauge!(IS_LEADER).set(if is_held { 1.0 } else { 0.0 });
}

/// What waits.
pub(super) fn backlog(backlog: Backlog) {
    gauge!(QUEUE_DEPTH).set(backlog.objects as f64);
    gauge!(QUEUE_AGE).set(backlog.age.as_secs_f64());
}
