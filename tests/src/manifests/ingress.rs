//! The Ingress of `networking.k8s.io/v1`, and its class.

use serde_json::{Value, json};

/// The class name under which `ingress_class` makes Postern answer for Ingresses.
pub const CLASS: &str = "postern";

/// An Ingress under construction.
#[derive(Clone, Debug)]
#[must_use]
pub struct Ingress {
    namespace: String,
    name: String,
    class: Option<String>,
    rules: Vec<Value>,
    tls: Vec<Value>,
    default_backend: Option<Value>,
}

impl Ingress {
    /// `namespace/name` of class `postern`, without a rule.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            class: Some(CLASS.to_owned()),
            rules: Vec::new(),
            tls: Vec::new(),
            default_backend: None,
        }
    }

    /// Another class.
    pub fn class(mut self, class: &str) -> Self {
        self.class = Some(class.to_owned());
        self
    }

    /// Adds a rule: paths (`type`, path, Service) of a host; no host means every host. Port 80 of each Service.
    pub fn rule(mut self, host: Option<&str>, paths: &[(&str, &str, &str)]) -> Self {
        let paths: Vec<Value> = paths
            .iter()
            .map(|(path_type, path, service)| json!({"path": path, "pathType": path_type, "backend": backend(service)}))
            .collect();
        let mut rule = json!({"http": {"paths": paths}});
        if let Some(host) = host {
            rule["host"] = host.into();
        }
        self.rules.push(rule);
        self
    }

    /// Takes the certificate for these hosts from a Secret.
    pub fn tls(mut self, hosts: &[&str], secret: &str) -> Self {
        self.tls.push(json!({"hosts": hosts, "secretName": secret}));
        self
    }

    /// Where requests go that no rule is for: port 80 of this Service.
    pub fn default_backend(mut self, service: &str) -> Self {
        self.default_backend = Some(backend(service));
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        let mut spec = json!({});
        if let Some(class) = &self.class {
            spec["ingressClassName"] = class.as_str().into();
        }
        if !self.rules.is_empty() {
            spec["rules"] = self.rules.clone().into();
        }
        if !self.tls.is_empty() {
            spec["tls"] = self.tls.clone().into();
        }
        if let Some(backend) = &self.default_backend {
            spec["defaultBackend"] = backend.clone();
        }
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": spec,
        })
    }
}

fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}
