//! JSON of the API to objects.
//!
//! Only what a translator reads is taken: `managedFields`, the largest part of most objects, is skipped without being
//! stored (but for objects with our finalizer), and so is everything of a Secret but its name and version.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassSpec, IngressSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::place;
use crate::object::{KIngress, KIngressSpec, Object, ObjectKey, ObjectKind, ObjectRef, SecretMeta};

mod endpoints;
mod meta;

use endpoints::WireEndpointSlice;
use meta::{Head, Meta};

/// An object as a list or a watch has it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: ObjectKey,
    pub(super) version: String,
    /// The object, or what is wrong with it.
    pub(super) object: Result<Object, Wrong>,
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The field, as a path.
    pub(super) field: Option<String>,
    pub(super) message: String,
}

/// Reads an object. An error if it has not even a name.
pub(super) fn item(kind: ObjectKind, json: &str) -> Result<Item, serde_json::Error> {
    let (head, object) = match object(kind, json) {
        Ok((head, object)) => (head, Ok(object)),
        Err(_) => (meta::head(json)?, Err(explain(kind, json))),
    };
    Ok(Item { key: head.key(kind), version: head.resource_version, object })
}

/// Reads an object's name and version alone.
pub(super) fn head(kind: ObjectKind, json: &str) -> Result<(ObjectKey, String), serde_json::Error> {
    meta::head(json).map(|head| (head.key(kind), head.resource_version))
}

fn object(kind: ObjectKind, json: &str) -> Result<(Head, Object), serde_json::Error> {
    Ok(match kind {
        ObjectKind::ConfigMap => {
            let wire: WireConfigMap<'_> = serde_json::from_str(json)?;
            let (head, metadata) = wire.metadata.split();
            (head, Object::ConfigMap(Box::new(ConfigMap { metadata, data: wire.data, ..ConfigMap::default() })))
        }
        ObjectKind::EndpointSlice => {
            let wire: WireEndpointSlice = serde_json::from_str(json)?;
            let (head, slice) = wire.split();
            (head, Object::EndpointSlice(Box::new(slice)))
        }
        ObjectKind::Ingress => {
            let (head, metadata, spec, status) = with_spec::<IngressSpec>(json)?;
            (head, Object::Ingress(Box::new(Ingress { metadata, spec, status: lenient(status) })))
        }
        ObjectKind::IngressClass => {
            let (head, metadata, spec, _) = with_spec::<IngressClassSpec>(json)?;
            (head, Object::IngressClass(Box::new(IngressClass { metadata, spec })))
        }
        ObjectKind::KIngress => {
            let (head, metadata, spec, status) = with_spec::<KIngressSpec>(json)?;
            let status = lenient(status).unwrap_or_default();
            (head, Object::KIngress(Box::new(KIngress { metadata, spec: spec.unwrap_or_default(), status })))
        }
        ObjectKind::Secret => secret(meta::head(json)?),
        ObjectKind::Service => {
            let (head, metadata, spec, _) = with_spec::<ServiceSpec>(json)?;
            (head, Object::Service(Box::new(Service { metadata, spec, status: None })))
        }
    })
}

fn secret(head: Head) -> (Head, Object) {
    let object = ObjectRef::new(head.namespace.as_str(), head.name.as_str());
    let version = Arc::from(head.resource_version.as_str());
    (head, Object::Secret(SecretMeta { object, secret_type: None, version }))
}

#[derive(Deserialize)]
struct WithSpec<'a, S> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(default = "none")]
    spec: Option<S>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

type Parts<'a, S> = (Head, meta::ObjectMeta, Option<S>, Option<&'a RawValue>);

/// `#[serde(default)]` would ask for `S: Default`.
fn none<S>() -> Option<S> {
    None
}

fn with_spec<'a, S: Deserialize<'a>>(json: &'a str) -> Result<Parts<'a, S>, serde_json::Error> {
    let wire: WithSpec<'a, S> = serde_json::from_str(json)?;
    let (head, metadata) = wire.metadata.split();
    Ok((head, metadata, wire.spec, wire.status))
}

/// A status that cannot be read is none: it is to be written anew, and keeps nothing from being served.
fn lenient<S: for<'de> Deserialize<'de>>(status: Option<&RawValue>) -> Option<S> {
    serde_json::from_str(status?.get()).ok()
}

#[derive(Deserialize)]
struct WireConfigMap<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(default)]
    data: Option<std::collections::BTreeMap<String, String>>,
}

/// Reads an object again to find the field that is wrong. Slow, and so done only where something is.
fn explain(kind: ObjectKind, json: &str) -> Wrong {
    let found = match kind {
        ObjectKind::ConfigMap => path_of_error::<WireConfigMap<'_>>(json),
        ObjectKind::EndpointSlice => path_of_error::<EndpointSlice>(json),
        ObjectKind::Ingress => path_of_error::<WithSpec<'_, IngressSpec>>(json),
        ObjectKind::IngressClass => path_of_error::<WithSpec<'_, IngressClassSpec>>(json),
        ObjectKind::KIngress => path_of_error::<WithSpec<'_, KIngressSpec>>(json),
        ObjectKind::Secret => None,
        ObjectKind::Service => path_of_error::<WithSpec<'_, ServiceSpec>>(json),
    };
    found.unwrap_or_else(|| Wrong { field: None, message: "is not as the API has it".to_owned() })
}

fn path_of_error<'a, T: Deserialize<'a>>(json: &'a str) -> Option<Wrong> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    let field = error.path().to_string();
    let message = match error.inner().classify() {
        // What is expected stands in serde's text; nothing of these kinds is secret.
        serde_json::error::Category::Data => error.inner().to_string(),
        _ => place(error.inner()),
    };
    Some(Wrong { field: (field != ".").then_some(field), message })
}

#[cfg(test)]
mod tests;
