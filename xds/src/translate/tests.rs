//! Objects in, what is in effect out.
#![expect(clippy::needless_pass_by_value, reason = "a spec is written where it is used")]

use std::collections::BTreeMap;

use k8s_openapi::serde_json::{self, Value, json};

use super::*;
use crate::object::SecretMeta;
use crate::resource::{Changes, Cluster, EndpointSet, RouteSet, TlsBinding, VirtualHost};

mod classes;
mod conflicts;
mod endpoints;
mod faults;
mod histories;
mod ingress;
mod kingress;
mod secrets;
mod updates;
mod withheld;

/// A translator, and what somebody who applies its Updates has.
pub(super) struct World {
    translator: Translator,
    faults: Faults,
    pub(super) hosts: BTreeMap<String, VirtualHost>,
    /// The routes of the hosts, unpacked.
    routes: BTreeMap<String, RouteSet>,
    pub(super) bindings: BTreeMap<String, TlsBinding>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) endpoints: BTreeMap<String, EndpointSet>,
    secrets: BTreeMap<ObjectRef, crate::resource::SecretVersion>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let faults = Faults::default();
        let mut world = Self {
            translator: Translator::new(options, faults.clone()),
            faults,
            hosts: BTreeMap::new(),
            routes: BTreeMap::new(),
            bindings: BTreeMap::new(),
            clusters: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        world.translator.accept(ObjectEvent::Synced);
        world.flush();
        world
    }

    /// Takes objects in and applies the Update, which it returns.
    pub(super) fn apply(&mut self, objects: impl IntoIterator<Item = Object>) -> Update {
        for object in objects {
            self.translator.accept(ObjectEvent::Applied(object));
        }
        self.flush()
    }

    pub(super) fn delete(&mut self, kind: ObjectKind, name: &str) -> Update {
        self.translator.accept(ObjectEvent::Deleted(ObjectKey { kind, object: reference(name) }));
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Update {
        let update = self.translator.flush().unwrap_or_default();
        patch(&mut self.hosts, &update.virtual_hosts, |host| host.as_str().to_owned());
        patch(&mut self.bindings, &update.tls_bindings, |host| host.as_str().to_owned());
        patch(&mut self.clusters, &update.clusters, |name| name.as_str().to_owned());
        patch(&mut self.endpoints, &update.endpoints, |name| name.as_str().to_owned());
        patch(&mut self.secrets, &update.secrets, Clone::clone);
        self.routes = self.hosts.iter().map(|(name, host)| (name.clone(), host.routes.unpack())).collect();
        update
    }

    /// All faults, as they are shown.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.all().iter().map(ToString::to_string).collect()
    }

    /// The only fault there is.
    pub(super) fn fault(&self) -> String {
        let faults = self.faults();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        faults[0].clone()
    }

    pub(super) fn host_names(&self) -> Vec<&str> {
        self.hosts.keys().map(String::as_str).collect()
    }

    /// The cluster that a request without headers goes to, by the first route that covers the path.
    pub(super) fn cluster_for(&self, host: &str, path: &str) -> Option<&str> {
        let routes = &self.routes.get(host)?.routes;
        let route = routes.iter().find(|route| route.headers.is_empty() && route.path.covers(path))?;
        Some(route.action.splits[0].cluster.as_str())
    }

    pub(super) fn addresses(&self, cluster: &str) -> Vec<String> {
        self.endpoints[cluster].addresses.iter().map(ToString::to_string).collect()
    }
}

/// Applies changes, each of which must be one.
fn patch<K, V: Clone + PartialEq, N: Ord + std::fmt::Debug>(
    have: &mut BTreeMap<N, V>,
    changes: &Changes<K, V>,
    name: impl Fn(&K) -> N,
) {
    for (key, value) in changes {
        let name = name(key);
        assert!(have.get(&name) != value.as_ref(), "{name:?} is told although it has not changed");
        match value {
            Some(value) => have.insert(name, value.clone()),
            None => have.remove(&name),
        };
    }
}

/// `namespace/name`, or a name in namespace `shop`.
pub(super) fn reference(name: &str) -> ObjectRef {
    let (namespace, name) = name.split_once('/').unwrap_or(("shop", name));
    ObjectRef::new(namespace, name)
}

fn metadata(name: &str, more: &Value) -> Value {
    let object = reference(name);
    let mut metadata = json!({"namespace": &*object.namespace, "name": &*object.name});
    for (key, value) in more.as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    metadata
}

/// A moment, the later the younger.
pub(super) fn made(second: u32) -> Value {
    json!({"creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")})
}

/// A KIngress of our class.
pub(super) fn kingress(name: &str, spec: Value) -> Object {
    kingress_with(name, &json!({}), spec)
}

pub(super) fn kingress_with(name: &str, more: &Value, spec: Value) -> Object {
    let class = json!({"networking.knative.dev/ingress.class": "postern.ingress.networking.knative.dev"});
    let mut metadata = metadata(name, more);
    for (key, value) in class.as_object().unwrap() {
        if metadata["annotations"].get(key).is_none() {
            metadata["annotations"][key] = value.clone();
        }
    }
    Object::KIngress(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
}

/// A rule that sends these hosts to a Service's port 80.
pub(super) fn rule(hosts: &[&str], visibility: &str, service: &str) -> Value {
    json!({"hosts": hosts, "visibility": visibility, "http": {"paths": [path("", service)]}})
}

pub(super) fn path(path: &str, service: &str) -> Value {
    json!({"path": path, "splits": [split(service, 100)]})
}

pub(super) fn split(service: &str, percent: i32) -> Value {
    json!({"serviceNamespace": "shop", "serviceName": service, "servicePort": 80, "percent": percent})
}

/// A KIngress with one host, of an age.
pub(super) fn one_host(name: &str, second: u32, host: &str) -> Object {
    kingress_with(name, &made(second), json!({"rules": [rule(&[host], "ExternalIP", "hello")]}))
}

/// An Ingress v1 of our class.
pub(super) fn ingress(name: &str, spec: Value) -> Object {
    ingress_with(name, &json!({}), spec)
}

pub(super) fn ingress_with(name: &str, more: &Value, mut spec: Value) -> Object {
    if spec.get("ingressClassName").is_none() {
        spec["ingressClassName"] = "postern".into();
    }
    Object::Ingress(serde_json::from_value(json!({"metadata": metadata(name, more), "spec": spec})).unwrap())
}

/// An Ingress rule whose paths, given as type and path, each go to a Service named by their place: `s0`, `s1`, ...
pub(super) fn ingress_rule(host: &str, paths: &[(&str, &str)]) -> Value {
    let paths: Vec<_> = (paths.iter().enumerate())
        .map(|(n, (kind, path))| json!({"path": path, "pathType": kind, "backend": backend(&format!("s{n}"))}))
        .collect();
    json!({"host": host, "http": {"paths": paths}})
}

pub(super) fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

pub(super) fn service(name: &str, spec: Value) -> Object {
    Object::Service(serde_json::from_value(json!({"metadata": metadata(name, &json!({})), "spec": spec})).unwrap())
}

/// A Service with one port, `http` 80.
pub(super) fn plain_service(name: &str) -> Object {
    service(name, json!({"ports": [{"name": "http", "port": 80}]}))
}

pub(super) fn slice(name: &str, service: &str, more: Value) -> Object {
    let labels = json!({"labels": {"kubernetes.io/service-name": service}});
    let mut slice = json!({"metadata": metadata(name, &labels), "addressType": "IPv4", "endpoints": []});
    for (key, value) in more.as_object().unwrap() {
        slice[key] = value.clone();
    }
    Object::EndpointSlice(serde_json::from_value(slice).unwrap())
}

/// A slice with port `http` and these ready addresses.
pub(super) fn pods(name: &str, service: &str, port: u16, addresses: &[&str]) -> Object {
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    slice(name, service, json!({"ports": [{"name": "http", "port": port}], "endpoints": endpoints}))
}

pub(super) fn secret(name: &str, version: &str) -> Object {
    Object::Secret(SecretMeta { object: reference(name), secret_type: None, version: version.into() })
}

pub(super) fn class(name: &str, controller: &str, is_default: bool) -> Object {
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": is_default.to_string()});
    let class = json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}});
    Object::IngressClass(serde_json::from_value(class).unwrap())
}
