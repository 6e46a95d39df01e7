//! What one watcher follows: a kind, where, and which of its objects.

use std::fmt;
use std::sync::Arc;

use kube::api::{ListParams, VersionMatch, WatchParams};
use kube::core::Request;

use super::request::Failure;
use crate::object::{ObjectKey, ObjectKind, ObjectRef};

/// What one watcher follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: ObjectKind,
    /// `None` for all namespaces, and for a kind that has none.
    pub(super) namespace: Option<Arc<str>>,
    /// Just the object of this name.
    pub(super) name: Option<Arc<str>>,
    /// A field selector, apart from the name.
    pub(super) fields: Option<String>,
    pub(super) labels: Option<String>,
}

impl Target {
    /// All objects of a kind.
    pub(super) fn new(kind: ObjectKind, namespace: Option<&Arc<str>>) -> Self {
        Self { kind, namespace: namespace.cloned(), name: None, fields: None, labels: None }
    }

    /// One ConfigMap.
    pub(super) fn config_map(object: &ObjectRef) -> Self {
        let name = Some(Arc::clone(&object.name));
        Self { name, ..Self::new(ObjectKind::ConfigMap, Some(&object.namespace)) }
    }

    /// True if the server is asked for metadata alone.
    pub(super) fn metadata_only(&self) -> bool {
        self.kind == ObjectKind::Secret
    }

    /// Asks for one page of a list.
    pub(super) fn list(&self, limit: u32, token: Option<&str>) -> Result<http::Request<Vec<u8>>, Failure> {
        let params = ListParams {
            field_selector: self.field_selector(),
            label_selector: self.labels.clone(),
            limit: Some(limit),
            continue_token: token.map(str::to_owned),
            ..ListParams::default()
        };
        let request = Request::new(self.path());
        let built = if self.metadata_only() { request.list_metadata(&params) } else { request.list(&params) };
        built.map_err(|error| Failure::Unreadable { reason: error.to_string() })
    }

    /// Asks for the metadata of one object in a list that is not older than a version; a server that has not reached it
    /// answers 504.
    pub(super) fn not_older_than(&self, version: &str) -> Result<http::Request<Vec<u8>>, Failure> {
        let params = ListParams {
            field_selector: self.field_selector(),
            label_selector: self.labels.clone(),
            limit: Some(1),
            version_match: Some(VersionMatch::NotOlderThan),
            resource_version: Some(version.to_owned()),
            ..ListParams::default()
        };
        let built = Request::new(self.path()).list_metadata(&params);
        built.map_err(|error| Failure::Unreadable { reason: error.to_string() })
    }

    /// Asks for the changes since a version; or, with `everything`, for all there is and then the changes.
    pub(super) fn watch(
        &self,
        version: &str,
        everything: bool,
        seconds: u32,
    ) -> Result<http::Request<Vec<u8>>, Failure> {
        let params = WatchParams {
            field_selector: self.field_selector(),
            label_selector: self.labels.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: everything,
        };
        let request = Request::new(self.path());
        let metadata_only = self.metadata_only();
        let built =
            if metadata_only { request.watch_metadata(&params, version) } else { request.watch(&params, version) };
        built.map_err(|error| Failure::Unreadable { reason: error.to_string() })
    }

    /// The rule that lets us follow this, as it is written in a Role.
    pub(super) fn rule(&self) -> String {
        let Coordinates { group, plural, .. } = coordinates(self.kind);
        let names = self.name.as_ref().map(|name| format!(", resourceNames: [\"{name}\"]")).unwrap_or_default();
        let place = match &self.namespace {
            Some(namespace) => format!("a Role in namespace {namespace}"),
            None => "a ClusterRole".to_owned(),
        };
        format!("apiGroups: [\"{group}\"], resources: [\"{plural}\"]{names}, verbs: [\"list\", \"watch\"] in {place}")
    }

    fn field_selector(&self) -> Option<String> {
        let name = self.name.as_ref().map(|name| format!("metadata.name={name}"));
        match (name, &self.fields) {
            (Some(name), Some(fields)) => Some(format!("{name},{fields}")),
            (name, fields) => name.or_else(|| fields.clone()),
        }
    }

    fn path(&self) -> String {
        let Coordinates { group, version, plural } = coordinates(self.kind);
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match &self.namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path())?;
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        Ok(())
    }
}

/// Where a kind is found in the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coordinates {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
}

/// The path of an object.
pub(crate) fn object_path(key: &ObjectKey) -> String {
    let namespace = Some(&key.object.namespace).filter(|namespace| !namespace.is_empty());
    format!("{}/{}", Target::new(key.kind, namespace).path(), key.object.name)
}

/// Where a kind is found in the API.
pub(crate) fn coordinates(kind: ObjectKind) -> Coordinates {
    let (group, version, plural) = match kind {
        ObjectKind::ConfigMap => ("", "v1", "configmaps"),
        ObjectKind::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
        ObjectKind::Ingress => ("networking.k8s.io", "v1", "ingresses"),
        ObjectKind::IngressClass => ("networking.k8s.io", "v1", "ingressclasses"),
        ObjectKind::KIngress => ("networking.internal.knative.dev", "v1alpha1", "ingresses"),
        ObjectKind::Secret => ("", "v1", "secrets"),
        ObjectKind::Service => ("", "v1", "services"),
    };
    Coordinates { group, version, plural }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_rule_is_spelled_out() {
        let mut target = Target::new(ObjectKind::EndpointSlice, Some(&"shop".into()));
        assert_eq!(
            target.rule(),
            "apiGroups: [\"discovery.k8s.io\"], resources: [\"endpointslices\"], verbs: [\"list\", \"watch\"] in a Role in \
             namespace shop"
        );
        target = Target::config_map(&ObjectRef::new("knative-serving", "config-kourier"));
        assert!(target.rule().contains("resourceNames: [\"config-kourier\"]"), "{}", target.rule());
    }

    #[test]
    fn secrets_are_asked_for_as_metadata() {
        let mut target = Target::new(ObjectKind::Secret, None);
        target.fields = Some("type=kubernetes.io/tls".to_owned());
        for request in [target.list(500, Some("next")), target.watch("7", false, 60), target.watch("", true, 60)] {
            let request = request.unwrap();
            let accept = request.headers()["accept"].to_str().unwrap();
            assert!(accept.starts_with("application/json;as=PartialObjectMetadata"), "{accept}");
            assert!(!accept.contains(','), "nothing else is accepted: {accept}");
            assert!(request.uri().to_string().contains("fieldSelector=type%3Dkubernetes.io%2Ftls"));
        }
    }
}
