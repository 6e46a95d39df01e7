//! Kubernetes Events (events.k8s.io/v1) for rejected Ingresses, Knative's and Kubernetes' own, so that `kubectl describe`
//! says why.
//!
//! Level-triggered: a fault that holds is told once, all of an object's in one Event, whose name is made of what it says:
//! what the server has already is not recorded again. At most [`MOST_TOLD`] objects are told of, and no more than
//! [`PER_SECOND`] in a second on average. Faults of other kinds are in the log and on the admin page.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::condition::{Verdict, truncate};
use super::lease::Leadership;
use super::metrics;
use super::wire::{Api, MANAGER, micro_time};
use crate::fault::{Fault, Faults, Subject};
use crate::object::{ObjectKey, ObjectKind};
use crate::source::api::request::Failure;
use crate::source::api::{Rate, Verb, coordinates, object_path};

/// Subjects whose faults are told; those beyond them are in the log, the metrics and on the admin page.
const MOST_TOLD: usize = 1_000;

/// Events in a second, on average and at once.
const PER_SECOND: f64 = 1.0;
const BURST: f64 = 25.0;

/// How often faults are looked at. A fault that holds for less, as while a service is being made, is not told.
const INTERVAL: Duration = Duration::from_secs(3);

/// The longest note that the API takes.
const LONGEST_NOTE: usize = 1024;

/// The longest name that leaves room for what is added to it.
const LONGEST_NAME: usize = 236;

/// Tells of faults while this gateway writes status.
#[derive(Debug)]
pub(super) struct Recorder {
    api: Api,
    faults: Faults,
    identity: Arc<str>,
    leadership: Leadership,
    rate: Rate,
    /// Hashes of what was told and holds.
    told: HashSet<u64>,
    /// Hashes of what was seen the last time, and is told if it is still there.
    seen: HashSet<u64>,
}

impl Recorder {
    pub(super) fn new(api: Api, faults: Faults, identity: Arc<str>, leadership: Leadership) -> Self {
        let rate = Rate::new(PER_SECOND, BURST);
        Self { api, faults, identity, leadership, rate, told: HashSet::new(), seen: HashSet::new() }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.leadership.gained().await;
            ticks.tick().await;
            self.tell_all().await;
        }
    }

    async fn tell_all(&mut self) {
        let rejects = rejects(self.faults.all());
        let held: HashSet<u64> = rejects.iter().map(|(hash, ..)| *hash).collect();
        self.told.retain(|hash| held.contains(hash));
        for (hash, key, note) in rejects {
            let is_due = self.seen.contains(&hash) && !self.told.contains(&hash) && self.told.len() < MOST_TOLD;
            if !is_due {
                continue;
            }
            self.rate.take().await;
            if !self.leadership.is_held() {
                return;
            }
            let result = self.tell(hash, &key, &note).await;
            metrics::recorded(result.as_ref().err().map_or("ok", Failure::reason));
            match result {
                // What is gone, or may not be told, is not tried for ever.
                Err(failure) if !matches!(failure.code(), Some(403 | 404)) => {
                    tracing::debug!(object = %key, error = %failure, "an event was not recorded; it is tried again");
                }
                _ => {
                    self.told.insert(hash);
                }
            }
        }
        self.seen = held;
    }

    async fn tell(&self, hash: u64, key: &ObjectKey, note: &str) -> Result<(), Failure> {
        let WithUid { metadata } = self.api.metadata(&object_path(key)).await?;
        let mut name = key.object.name.to_string();
        truncate(&mut name, LONGEST_NAME);
        let name = format!("{name}.{hash:016x}");
        let event = self.event(key, &name, &metadata.uid, note);
        let collection = format!("/apis/events.k8s.io/v1/namespaces/{}/events", key.object.namespace);
        match self.api.put::<IgnoredAny>(Verb::Create, &collection, &event).await {
            // The same was recorded before, by this gateway or another one.
            Err(failure) if failure.code() == Some(409) => Ok(()),
            result => result.map(drop),
        }
    }

    fn event(&self, key: &ObjectKey, name: &str, uid: &str, note: &str) -> Value {
        let (at, object) = (coordinates(key.kind), &key.object);
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"namespace": &*object.namespace, "name": name},
            "eventTime": micro_time(Timestamp::now()),
            "reportingController": format!("{MANAGER}.dev/gateway"), "reportingInstance": &*self.identity,
            "type": "Warning", "reason": "Rejected", "action": "Translate", "note": note,
            "regarding": {
                "apiVersion": format!("{}/{}", at.group, at.version), "kind": "Ingress",
                "namespace": &*object.namespace, "name": &*object.name, "uid": uid,
            },
        })
    }
}

/// What is rejected, by object, with a hash of what is said about it.
fn rejects(faults: Vec<Fault>) -> Vec<(u64, ObjectKey, String)> {
    let mut by_object = BTreeMap::<ObjectKey, Vec<Fault>>::new();
    for fault in faults {
        if let Subject::Object(key) = &fault.subject
            && matches!(key.kind, ObjectKind::KIngress | ObjectKind::Ingress)
        {
            by_object.entry(key.clone()).or_default().push(fault);
        }
    }
    let told = by_object.into_iter().filter_map(|(key, faults)| {
        let Some(Verdict::Failed(mut note)) = Verdict::of_faults(&faults) else { return None };
        truncate(&mut note, LONGEST_NOTE);
        Some((FixedState::default().hash_one((&key, &note)), key, note))
    });
    told.collect()
}

#[derive(Deserialize)]
struct WithUid {
    metadata: Uid,
}

#[derive(Deserialize)]
struct Uid {
    #[serde(default)]
    uid: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Severity;
    use crate::object::ObjectRef;

    fn fault(name: &str, message: &str, severity: Severity) -> Fault {
        let key = ObjectKey { kind: ObjectKind::Ingress, object: ObjectRef::new("shop", name) };
        Fault { subject: Subject::Object(key), field: Some("spec".to_owned()), message: message.to_owned(), severity }
    }

    #[test]
    fn all_errors_of_an_object_are_one_event_and_warnings_none() {
        let faults = vec![
            fault("web", "is wrong", Severity::Error),
            fault("web", "is wrong too", Severity::Error),
            fault("api", "is odd", Severity::Warning),
        ];
        let told = rejects(faults);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].2, "spec: is wrong (and 1 more)");
    }

    #[test]
    fn the_same_fault_has_the_same_name_and_another_one_another() {
        let hash = |message: &str| rejects(vec![fault("web", message, Severity::Error)])[0].0;
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
    }
}
