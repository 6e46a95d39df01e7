//! Object metadata, as far as it is read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::status::{FINALIZER, MANAGER};

pub(super) use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// `kubectl apply` keeps all of the object here: a second copy, and with a Secret its key.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What every object has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) resource_version: String,
}

impl Head {
    pub(super) fn key(&self, kind: ObjectKind) -> ObjectKey {
        ObjectKey { kind, object: ObjectRef::new(self.namespace.as_str(), self.name.as_str()) }
    }
}

/// Reads the name and the version of any object.
pub(super) fn head(json: &str) -> Result<Head, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        metadata: Head,
    }
    serde_json::from_str::<Wire>(json).map(|wire| wire.metadata)
}

/// Metadata without owners and links; of `managedFields`, what Postern itself owns of an object that has our finalizer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    creation_timestamp: Option<Time>,
    #[serde(default)]
    deletion_timestamp: Option<Time>,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
}

impl Meta<'_> {
    /// The name and version, and the metadata in Kubernetes' own type.
    pub(super) fn split(mut self) -> (Head, ObjectMeta) {
        if let Some(annotations) = &mut self.annotations {
            annotations.remove(LAST_APPLIED);
        }
        let head = Head {
            name: self.name.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            resource_version: self.resource_version.clone().unwrap_or_default(),
        };
        let managed_fields = self.own_fields();
        let metadata = ObjectMeta {
            managed_fields,
            name: Some(self.name),
            namespace: self.namespace,
            resource_version: self.resource_version,
            uid: self.uid,
            generation: self.generation,
            creation_timestamp: self.creation_timestamp,
            deletion_timestamp: self.deletion_timestamp,
            finalizers: self.finalizers,
            labels: self.labels,
            annotations: self.annotations,
            ..ObjectMeta::default()
        };
        (head, metadata)
    }

    /// The entries of Postern. Read only where the finalizer is, which Postern no longer writes.
    fn own_fields(&self) -> Option<Vec<ManagedFieldsEntry>> {
        self.finalizers.iter().flatten().find(|name| *name == FINALIZER)?;
        let entries: Vec<ManagedFieldsEntry> = serde_json::from_str(self.managed_fields?.get()).ok()?;
        Some(entries.into_iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER)).collect())
    }
}
