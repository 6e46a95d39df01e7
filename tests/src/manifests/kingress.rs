//! Knative's Ingress, as Knative's controller writes it.

use serde_json::{Map, Value, json};

/// The class that Postern serves by default.
pub const CLASS: &str = "postern.ingress.networking.knative.dev";

/// A KIngress under construction.
#[derive(Clone, Debug)]
#[must_use]
pub struct KIngress {
    namespace: String,
    name: String,
    annotations: Map<String, Value>,
    created: Option<String>,
    tls: Vec<Value>,
    rules: Vec<Rule>,
    http_option: Option<String>,
}

/// A rule: hosts and their paths.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    hosts: Vec<String>,
    visibility: &'static str,
    paths: Vec<PathRule>,
}

/// A path and where it leads.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PathRule {
    path: String,
    headers: Map<String, Value>,
    rewrite_host: Option<String>,
    append_headers: Map<String, Value>,
    splits: Vec<Split>,
}

/// A candidate with its percentage.
#[derive(Clone, Debug)]
#[must_use]
pub struct Split {
    service: String,
    port: Value,
    percent: u32,
    append_headers: Map<String, Value>,
}

impl KIngress {
    /// `namespace/name` of Postern's class, without a rule.
    pub fn new(namespace: &str, name: &str) -> Self {
        let annotations = Map::from_iter([("networking.knative.dev/ingress.class".to_owned(), CLASS.into())]);
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            annotations,
            created: None,
            tls: Vec::new(),
            rules: Vec::new(),
            http_option: None,
        }
    }

    /// Sets an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Sets `metadata.creationTimestamp`, which decides conflicts.
    pub fn created(mut self, timestamp: &str) -> Self {
        self.created = Some(timestamp.to_owned());
        self
    }

    /// Adds a rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Takes the certificate for these hosts from a Secret of the same namespace.
    pub fn tls(mut self, hosts: &[&str], secret: &str) -> Self {
        self.tls.push(json!({"hosts": hosts, "secretName": secret, "secretNamespace": self.namespace}));
        self
    }

    /// Sets `spec.httpOption`.
    pub fn http_option(mut self, option: &str) -> Self {
        self.http_option = Some(option.to_owned());
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(|rule| rule.to_value(&self.namespace)).collect();
        let mut spec = json!({"rules": rules});
        if !self.tls.is_empty() {
            spec["tls"] = self.tls.clone().into();
        }
        if let Some(option) = &self.http_option {
            spec["httpOption"] = option.as_str().into();
        }
        let mut object = json!({
            "apiVersion": "networking.internal.knative.dev/v1alpha1",
            "kind": "Ingress",
            "metadata": {"namespace": self.namespace, "name": self.name, "annotations": self.annotations},
            "spec": spec,
        });
        if let Some(created) = &self.created {
            object["metadata"]["creationTimestamp"] = created.as_str().into();
        }
        object
    }
}

impl Rule {
    /// Hosts that are reached from outside.
    pub fn external(hosts: &[&str]) -> Self {
        Self::new(hosts, "ExternalIP")
    }

    /// Hosts that are reached from inside the cluster only.
    pub fn cluster_local(hosts: &[&str]) -> Self {
        Self::new(hosts, "ClusterLocal")
    }

    fn new(hosts: &[&str], visibility: &'static str) -> Self {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Self { hosts, visibility, paths: Vec::new() }
    }

    /// Adds a path.
    pub fn path(mut self, path: PathRule) -> Self {
        self.paths.push(path);
        self
    }

    fn to_value(&self, namespace: &str) -> Value {
        let paths: Vec<Value> = self.paths.iter().map(|path| path.to_value(namespace)).collect();
        json!({"hosts": self.hosts, "visibility": self.visibility, "http": {"paths": paths}})
    }
}

impl PathRule {
    /// Every path, to port 80 of one Service.
    pub fn to(service: &str) -> Self {
        Self::default().split(Split::new(service, 100))
    }

    /// Paths that start so; without candidates yet.
    pub fn prefix(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// Adds a candidate.
    pub fn split(mut self, split: Split) -> Self {
        self.splits.push(split);
        self
    }

    /// Only requests with this header; an empty value asks for presence.
    pub fn header(mut self, name: &str, exact: &str) -> Self {
        self.headers.insert(name.to_owned(), json!({"exact": exact}));
        self
    }

    /// Sets a request header.
    pub fn append_header(mut self, name: &str, value: &str) -> Self {
        self.append_headers.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the authority that the backend sees.
    pub fn rewrite_host(mut self, host: &str) -> Self {
        self.rewrite_host = Some(host.to_owned());
        self
    }

    fn to_value(&self, namespace: &str) -> Value {
        let splits: Vec<Value> = self.splits.iter().map(|split| split.to_value(namespace)).collect();
        let mut value = json!({"splits": splits});
        if !self.path.is_empty() {
            value["path"] = self.path.as_str().into();
        }
        if !self.headers.is_empty() {
            value["headers"] = self.headers.clone().into();
        }
        if !self.append_headers.is_empty() {
            value["appendHeaders"] = self.append_headers.clone().into();
        }
        if let Some(host) = &self.rewrite_host {
            value["rewriteHost"] = host.as_str().into();
        }
        value
    }
}

impl Split {
    /// Port 80 of a Service, with this percentage.
    pub fn new(service: &str, percent: u32) -> Self {
        Self { service: service.to_owned(), port: 80.into(), percent, append_headers: Map::new() }
    }

    /// Another port, by number or name.
    pub fn port(mut self, port: impl Into<Value>) -> Self {
        self.port = port.into();
        self
    }

    /// Sets a request header when this candidate is picked.
    pub fn append_header(mut self, name: &str, value: &str) -> Self {
        self.append_headers.insert(name.to_owned(), value.into());
        self
    }

    fn to_value(&self, namespace: &str) -> Value {
        let mut value = json!({
            "serviceNamespace": namespace, "serviceName": self.service, "servicePort": self.port, "percent": self.percent,
        });
        if !self.append_headers.is_empty() {
            value["appendHeaders"] = self.append_headers.clone().into();
        }
        value
    }
}
