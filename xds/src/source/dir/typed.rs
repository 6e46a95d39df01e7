//! Documents to typed objects.

use std::sync::Arc;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::object_ref;
use super::input::{Input, ParseError};
use super::kind::{Content, content};
use super::secret_document::SecretDocument;
use crate::object::{KIngress, KIngressSpec, Object, ObjectKey, ObjectKind, ObjectRef, SecretMeta};

/// An object with its name. Names are complete: a namespaced object has a namespace.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: ObjectKey,
    pub(super) object: Object,
    /// For a Secret: differs when type or data do.
    pub(super) version: u64,
}

/// A KIngress that also says what it is; Kubernetes' own types check that themselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KIngressDocument {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: KIngressSpec,
}

/// Reads an object of a kind. In a list of that kind the items need not say what they are.
pub(super) fn load(kind: ObjectKind, input: Input<'_>, in_typed_list: bool) -> Result<Loaded, ParseError> {
    match kind {
        ObjectKind::ConfigMap => plain(kind, input, Object::ConfigMap),
        ObjectKind::EndpointSlice => plain(kind, input, Object::EndpointSlice),
        ObjectKind::Ingress => plain(kind, input, Object::Ingress),
        ObjectKind::IngressClass => plain(kind, input, Object::IngressClass),
        ObjectKind::Service => plain(kind, input, Object::Service),
        ObjectKind::KIngress => load_kingress(input, in_typed_list),
        ObjectKind::Secret => load_secret(input, in_typed_list),
    }
}

fn plain<T>(kind: ObjectKind, input: Input<'_>, wrap: fn(Box<T>) -> Object) -> Result<Loaded, ParseError>
where
    T: DeserializeOwned + Metadata<Ty = ObjectMeta>,
{
    let mut value: Box<T> = input.parse()?;
    let object = complete(kind, value.metadata_mut())?;
    Ok(Loaded { key: ObjectKey { kind, object }, object: wrap(value), version: 0 })
}

fn load_kingress(input: Input<'_>, in_typed_list: bool) -> Result<Loaded, ParseError> {
    let document: KIngressDocument = input.parse()?;
    let said = document.api_version.as_deref().zip(document.kind.as_deref());
    let is_it = said.is_some_and(|(api, kind)| content(api, kind) == Content::Object(ObjectKind::KIngress));
    let is_implied = in_typed_list && said.is_none();
    if !is_it && !is_implied {
        return Err(ParseError::new(None, "is not a networking.internal.knative.dev/v1alpha1 Ingress"));
    }
    let mut value = KIngress { metadata: document.metadata, spec: document.spec, ..KIngress::default() };
    let object = complete(ObjectKind::KIngress, &mut value.metadata)?;
    let key = ObjectKey { kind: ObjectKind::KIngress, object };
    Ok(Loaded { key, object: Object::KIngress(Box::new(value)), version: 0 })
}

fn load_secret(input: Input<'_>, in_typed_list: bool) -> Result<Loaded, ParseError> {
    let secret = SecretDocument::parse(input, in_typed_list)?;
    let kind = ObjectKind::Secret;
    let object = object_ref(kind, secret.names.namespace.as_deref(), secret.names.name.as_deref())?;
    let version = secret.version();
    let meta = SecretMeta { object: object.clone(), secret_type: secret.secret_type, version: version_text(version) };
    Ok(Loaded { key: ObjectKey { kind, object }, object: Object::Secret(meta), version })
}

/// A Secret's version as others see it.
pub(super) fn version_text(version: u64) -> Arc<str> {
    format!("{version:016x}").into()
}

/// Checks the names, and writes the namespace down where it was left out.
fn complete(kind: ObjectKind, metadata: &mut ObjectMeta) -> Result<ObjectRef, ParseError> {
    let object = object_ref(kind, metadata.namespace.as_deref(), metadata.name.as_deref())?;
    if kind == ObjectKind::IngressClass {
        metadata.namespace = None;
    } else if metadata.namespace.as_deref() != Some(&object.namespace) {
        metadata.namespace = Some(object.namespace.to_string());
    }
    Ok(object)
}
