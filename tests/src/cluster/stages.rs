//! Stages: what time does to objects, as data, in the way of KWOK (kwok.sigs.k8s.io/docs/user/stages-configuration).
//!
//! A stage waits until an object matches it, then a delay, and then changes the object. Differences from KWOK: paths are JSON
//! pointers instead of jq, changes are merge patches instead of templates (`$now` stands for the time), and what needs more
//! than data is an [`Action`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::kind::Kind;
use crate::Result;

mod next;
mod schedule;

pub(super) use next::{Context, advance};
pub use schedule::Schedule;

/// The stages that come with the cluster.
const BUILT_IN: [&str; 3] =
    [include_str!("stages/pods.yaml"), include_str!("stages/certificates.yaml"), include_str!("stages/services.yaml")];

/// One thing that happens to objects.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// To which kind it happens.
    pub kind: Kind,
    /// To which objects.
    #[serde(default)]
    pub selector: Matches,
    /// How likely it is against the others that match; 0: never.
    #[serde(default = "one")]
    pub weight: u64,
    /// How long it takes.
    #[serde(default)]
    pub delay: Delay,
    /// What then happens.
    pub next: Next,
}

/// Which objects match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Matches {
    /// Labels they have.
    pub match_labels: BTreeMap<String, String>,
    /// Annotations they have.
    pub match_annotations: BTreeMap<String, String>,
    /// What else holds.
    pub match_expressions: Vec<Expression>,
}

/// A condition on one place of an object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    /// The place, as a JSON pointer (RFC 6901).
    pub key: String,
    /// The condition.
    pub operator: Operator,
    /// What it compares with.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Operator {
    /// One of the values is there.
    In,
    /// None of the values is there.
    NotIn,
    /// Something is there.
    Exists,
    /// Nothing is there.
    DoesNotExist,
}

/// A delay: `duration`, and at most `jitter` more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delay {
    duration_milliseconds: u64,
    jitter_milliseconds: u64,
}

/// What happens to an object: the patches, then the actions, or its end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Next {
    /// A merge patch of the status.
    pub status: Option<Value>,
    /// A merge patch of the metadata.
    pub metadata: Option<Value>,
    /// What data cannot say.
    pub actions: Vec<Action>,
    /// It is deleted, without a grace period; finalizers hold it all the same.
    pub delete: bool,
}

/// A change that is more than a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// A Secret gets a new certificate from the cluster's authority, for the names in `simulated/names`.
    IssueCertificate,
    /// The first container's `restartCount` goes up.
    CountRestart,
}

/// Stages in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stages(Vec<Stage>);

fn one() -> u64 {
    1
}

impl Stages {
    /// Pods that become Ready, crash, are OOM-killed and terminate; certificates that are issued, renewed and revoked;
    /// services that are scaled to zero and back. What doesn't happen by itself happens to an object whose annotation
    /// `simulated/next` asks for it: `crash`, `oom`, `renew`, `revoke`, `idle`, `wake`.
    pub fn built_in() -> Result<Self> {
        let mut all = Self::default();
        for text in BUILT_IN {
            all = all.and(Self::parse(text)?);
        }
        Ok(all)
    }

    /// Stages in YAML, one document each.
    pub fn parse(text: &str) -> Result<Self> {
        let stages: Vec<Stage> = serde_saphyr::from_multiple(text)?;
        Ok(Self(stages))
    }

    /// These stages, with those of the same name replaced and the others added.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.retain(|stage| others.0.iter().all(|other| other.name != stage.name));
        self.0.extend(others.0);
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Stage> {
        self.0.iter()
    }
}

impl Stage {
    /// Whether an object of its kind matches.
    pub fn matches(&self, object: &Value) -> bool {
        let has = |place: &str, wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| object["metadata"][place][key] == value.as_str())
        };
        has("labels", &self.selector.match_labels)
            && has("annotations", &self.selector.match_annotations)
            && self.selector.match_expressions.iter().all(|expression| expression.holds(object))
    }
}

impl Expression {
    fn holds(&self, object: &Value) -> bool {
        let found = object.pointer(&self.key).filter(|found| !found.is_null());
        let is_one_of = || {
            let text = found.map(|found| found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned));
            text.is_some_and(|text| self.values.contains(&text))
        };
        match self.operator {
            Operator::In => is_one_of(),
            Operator::NotIn => !is_one_of(),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

impl Delay {
    /// The delay, with a part of the jitter that this number decides.
    fn with(self, number: u64) -> Duration {
        let jitter = number.checked_rem(self.jitter_milliseconds + 1).unwrap_or_default();
        Duration::from_millis(self.duration_milliseconds + jitter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_built_in_stages_can_be_read_and_have_names_of_their_own() {
        let stages = Stages::built_in().unwrap();
        let mut names: Vec<_> = stages.iter().map(|stage| &stage.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), stages.iter().count());
    }

    #[test]
    fn a_stage_matches_by_labels_annotations_and_expressions() {
        let stage = "
name: s
kind: pods
selector:
  matchLabels: {app: shop}
  matchExpressions:
    - {key: /status/phase, operator: In, values: [Pending]}
    - {key: /metadata/deletionTimestamp, operator: DoesNotExist}
next: {delete: true}
";
        let stages = Stages::parse(stage).unwrap();
        let stage = stages.iter().next().unwrap();
        let mut pod = json!({"metadata": {"labels": {"app": "shop"}}, "status": {"phase": "Pending"}});
        assert!(stage.matches(&pod));
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(!stage.matches(&pod));
    }
}
