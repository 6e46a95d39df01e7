//! A Lease as the API has it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::object::ObjectRef;
use crate::status::wire::micro_time;

/// A Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Record {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) resource_version: String,
}

/// Who holds it, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) holder_identity: Option<String>,
    pub(super) lease_duration_seconds: Option<u32>,
    pub(super) acquire_time: Option<String>,
    pub(super) renew_time: Option<String>,
    pub(super) lease_transitions: Option<u32>,
}

impl Spec {
    /// True if `identity` may take it, which has seen it as it is for so long.
    pub(super) fn is_free(&self, identity: &str, unchanged: Duration) -> bool {
        match self.holder_identity.as_deref() {
            None | Some("") => true,
            Some(holder) if holder == identity => true,
            Some(_) => unchanged > Duration::from_secs(self.lease_duration_seconds.unwrap_or_default().into()),
        }
    }

    /// Held by `identity` from now on, or still.
    pub(super) fn taken_by(&self, identity: &str, duration: Duration, time: Timestamp) -> Self {
        let is_renewal = self.holder_identity.as_deref() == Some(identity);
        let transitions = self.lease_transitions.unwrap_or_default();
        let is_first = self.holder_identity.is_none();
        Self {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: Some(u32::try_from(duration.as_secs().max(1)).unwrap_or(u32::MAX)),
            acquire_time: if is_renewal { self.acquire_time.clone() } else { Some(micro_time(time)) },
            renew_time: Some(micro_time(time)),
            lease_transitions: Some(if is_renewal || is_first { transitions } else { transitions.saturating_add(1) }),
        }
    }

    /// Held by nobody.
    pub(super) fn released(&self, time: Timestamp) -> Self {
        Self {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(micro_time(time)),
            ..self.clone()
        }
    }

    /// The whole object.
    pub(super) fn object(&self, lease: &ObjectRef, version: Option<&str>) -> Value {
        let mut metadata = json!({"namespace": *lease.namespace, "name": *lease.name});
        if let Some(version) = version {
            metadata["resourceVersion"] = version.into();
        }
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": self})
    }
}
