//! What is in the cluster, as a test sets and sees it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::crud;
use super::error::ApiError;
use super::kind::Kind;
use super::object::{self, Object};
use super::simulation::workload;
use super::store::Outcome;
use super::write::{self, Part, Preconditions, Target};
use super::{Cluster, Shared};
use crate::{Error, Result};

impl Cluster {
    /// Creates or replaces an object with all its parts, its namespace included; metadata of the server's is kept.
    pub fn apply(&self, object: Value) -> Result<Arc<Object>> {
        let kind = kind_of(&object)?;
        let name = object["metadata"]["name"].as_str().ok_or("an object without a name")?.to_owned();
        let namespace = if kind.facts().namespaced {
            object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned()
        } else {
            String::new()
        };
        self.ensure_namespace(&namespace)?;
        Ok(self.shared.put(kind, &namespace, &name, object)?)
    }

    /// [`Self::apply`] for many objects.
    pub fn apply_many(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        objects.into_iter().try_for_each(|object| self.apply(object).map(drop))
    }

    /// Deletes an object as a client would: finalizers and a Pod's grace period hold it. Whether it was there.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.shared.delete(kind, &object::key(namespace, name), &Preconditions::default())
    }

    /// Deletes an object and doesn't wait for a grace period. Whether it was there.
    pub fn delete_now(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.shared.delete(kind, &object::key(namespace, name), &Preconditions::grace_seconds(0))
    }

    /// An object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.shared.store.get(kind, &object::key(namespace, name)).map(|object| object.value())
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        Kind::ALL.into_iter().map(|kind| self.count(kind)).sum()
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.shared.store.snapshot(kind).objects.len()
    }

    /// Sets how many pods a Service of the simulation has.
    pub fn scale(&self, namespace: &str, service: &str, replicas: u32) -> Result<()> {
        self.annotate(Kind::Service, namespace, service, workload::REPLICAS, &replicas.to_string())
    }

    /// Lets something happen to an object that a stage stands ready for: `crash`, `oom`, `renew`, `revoke`, `idle`, `wake`.
    pub fn happen(&self, kind: Kind, namespace: &str, name: &str, what: &str) -> Result<()> {
        self.annotate(kind, namespace, name, "simulated/next", what)
    }

    /// Sets an annotation.
    pub fn annotate(&self, kind: Kind, namespace: &str, name: &str, annotation: &str, value: &str) -> Result<()> {
        let target = Target { kind, namespace, name, part: Part::All, clock: &self.shared.clock };
        self.shared.store.write(kind, &object::key(namespace, name), |old| {
            let mut new = old.clone().ok_or_else(|| ApiError::not_found(kind, name))?;
            new["metadata"]["annotations"][annotation] = value.into();
            target.update(old, new)
        })?;
        Ok(())
    }

    /// Makes this holder the one of a Lease, from now on by the cluster's clock, which may be wrong.
    pub fn hold_lease(&self, namespace: &str, name: &str, holder: &str, seconds: u32) -> Result<()> {
        let now = self.shared.clock.micro_time();
        self.apply(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now},
        }))
        .map(drop)
    }

    pub(super) fn ensure_namespace(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.shared.store.get(Kind::Namespace, &object::key("", name)).is_none() {
            let object = json!({"metadata": {"name": name}, "status": {"phase": "Active"}});
            self.shared.put(Kind::Namespace, "", name, object)?;
        }
        Ok(())
    }
}

impl Shared {
    /// Creates or replaces an object with all its parts.
    pub(super) fn put(&self, kind: Kind, namespace: &str, name: &str, object: Value) -> Result<Arc<Object>, ApiError> {
        let target = Target { kind, namespace, name, part: Part::All, clock: &self.clock };
        let outcome = self.store.write(kind, &object::key(namespace, name), |old| match old {
            None => target.create(None, object),
            Some(old) => target.update(Some(old), object),
        })?;
        Ok(Arc::clone(outcome.object()))
    }

    /// Deletes an object if it is there; whether it was.
    pub(super) fn delete(&self, kind: Kind, key: &object::Key, options: &Preconditions) -> bool {
        let (namespace, name) = object::split_key(key);
        let target = Target { kind, namespace, name, part: Part::All, clock: &self.clock };
        let outcome = self.store.write(kind, key, |old| write::delete(&target, old, options));
        if kind == Kind::Namespace && matches!(outcome, Ok(Outcome::Removed(_))) {
            crud::empty_namespace(self, name);
        }
        outcome.is_ok()
    }
}

fn kind_of(object: &Value) -> Result<Kind> {
    let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    let found = api_version.zip(kind).and_then(|(api_version, kind)| Kind::of_object(api_version, kind));
    found.ok_or_else(|| Error::from(format!("{api_version:?} {kind:?}: not a kind of the simulated cluster")))
}
