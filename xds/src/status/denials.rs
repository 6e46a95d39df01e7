//! What the API server does not let us write, as faults that name the rule that is missing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Fault, Faults, Finder, Severity, Subject};

/// A resource of the API, as rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its API group.
    pub(super) group: &'static str,
    /// Its plural, with the subresource.
    pub(super) name: &'static str,
}

/// Time that a denial must last until it is a fault: a server that has just started denies everything for a moment.
const BELIEVED_AFTER: Duration = Duration::from_secs(5);

/// Remembers what has been denied, and since when, so that the faults end.
#[derive(Debug)]
pub(super) struct Denials {
    faults: Faults,
    held: Mutex<BTreeMap<Subject, Instant>>,
}

impl Denials {
    /// Nothing is denied so far.
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, held: Mutex::default() }
    }

    /// Notes that the API server denies it. Returns `true`, and reports a fault, once that has lasted.
    pub(super) fn report(&self, verb: &str, resource: Resource) -> bool {
        let subject = subject(resource);
        let now = Instant::now();
        let since = *self.held().entry(subject.clone()).or_insert(now);
        if now.duration_since(since) < BELIEVED_AFTER {
            return false;
        }
        let Resource { group, name } = resource;
        let message = format!(
            "status may not be written: expected a rule with apiGroups: [\"{group}\"], resources: [\"{name}\"], verbs: \
             [\"{verb}\"]"
        );
        let fault = Fault { subject: subject.clone(), field: None, message, severity: Severity::Warning };
        self.faults.set(Finder::Status, subject, vec![fault]);
        true
    }

    /// It has let us.
    pub(super) fn end(&self, resource: Resource) {
        let mut held = self.held();
        if !held.is_empty() {
            let subject = subject(resource);
            if held.remove(&subject).is_some() {
                self.faults.set(Finder::Status, subject, Vec::new());
            }
        }
    }

    /// We do not write any more.
    pub(super) fn end_all(&self) {
        for (subject, _) in std::mem::take(&mut *self.held()) {
            self.faults.set(Finder::Status, subject, Vec::new());
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Subject, Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subject(Resource { group, name }: Resource) -> Subject {
    Subject::Place { path: format!("kubernetes:/apis/{group}/{name}").into(), document: None, object: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Resource = Resource { group: "networking.k8s.io", name: "ingresses/status" };
    const SLICES: Resource = Resource { group: "discovery.k8s.io", name: "endpointslices" };

    #[tokio::test(start_paused = true)]
    async fn what_is_denied_for_long_is_a_fault_until_it_is_allowed_or_no_longer_tried() {
        let faults = Faults::default();
        let denials = Denials::new(faults.clone());
        assert!(!denials.report("patch", STATUS) && !denials.report("list", SLICES) && faults.is_empty());
        tokio::time::sleep(BELIEVED_AFTER).await;
        assert!(denials.report("patch", STATUS) && denials.report("patch", STATUS) && denials.report("list", SLICES));
        let texts: Vec<String> = faults.all().iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2);
        assert_eq!(
            texts[1],
            "kubernetes:/apis/networking.k8s.io/ingresses/status: status may not be written: expected a rule with apiGroups: \
             [\"networking.k8s.io\"], resources: [\"ingresses/status\"], verbs: [\"patch\"]"
        );
        denials.end(SLICES);
        denials.end(SLICES);
        assert_eq!(faults.len(), 1);
        denials.end_all();
        assert!(faults.is_empty());
    }
}
