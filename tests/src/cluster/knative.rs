//! A Knative service, as Knative's controllers write its objects.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::simulation::workload;
use crate::ca::{Issued, TestCa};
use crate::manifests::{kingress, secret};
use crate::{Error, Result};

/// The port under which activators are addressed.
const ACTIVATOR_PORT_NAME: &str = "http";

/// A service with one revision: a KIngress with three cluster-local hosts and an external one with TLS, a Service, its
/// EndpointSlice, and a Secret.
#[derive(Clone, Debug)]
#[must_use]
pub struct KnativeService {
    namespace: String,
    name: String,
    domain: String,
    endpoints: Vec<SocketAddr>,
    activators: Vec<SocketAddr>,
    replicas: Option<u32>,
}

impl KnativeService {
    /// `namespace/name` under `example.com`, with no endpoint.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            domain: "example.com".to_owned(),
            endpoints: Vec::new(),
            activators: Vec::new(),
            replicas: None,
        }
    }

    /// Another domain.
    pub fn domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.domain);
        self
    }

    /// Adds a ready endpoint, which stays what it is. Not for a service with [`Self::replicas`].
    pub fn endpoint(mut self, address: SocketAddr) -> Self {
        self.endpoints.push(address);
        self
    }

    /// Adds an activator: where requests go while no pod is Ready. All activators have the same port.
    pub fn activator(mut self, address: SocketAddr) -> Self {
        self.activators.push(address);
        self
    }

    /// How many pods there are to be. The simulation makes them, and its EndpointSlice follows them.
    pub fn replicas(mut self, count: u32) -> Self {
        self.replicas = Some(count);
        self
    }

    /// The name of the revision, which its Service and EndpointSlice have too.
    pub fn revision(&self) -> String {
        format!("{}-00001", self.name)
    }

    /// The name of the Secret.
    pub fn secret_name(&self) -> String {
        format!("route-{}", self.name)
    }

    /// The external host.
    pub fn external_host(&self) -> String {
        format!("{}.{}.{}", self.name, self.namespace, self.domain)
    }

    /// The cluster-local hosts.
    pub fn local_hosts(&self) -> [String; 3] {
        ["", ".svc", ".svc.cluster.local"].map(|suffix| format!("{}.{}{suffix}", self.name, self.namespace))
    }

    /// All objects, with a certificate that this authority signs now.
    pub fn objects(&self, ca: &TestCa) -> Result<Vec<Value>> {
        Ok(self.objects_with(&ca.issue(&[&self.external_host()])?))
    }

    /// All objects, with this certificate.
    pub fn objects_with(&self, certificate: &Issued) -> Vec<Value> {
        let mut objects = vec![self.secret_with(certificate), self.service()];
        if self.replicas.is_none() {
            objects.push(self.endpoint_slice());
        }
        objects.push(self.kingress());
        objects
    }

    /// All objects, with a Secret whose certificate is yet to be issued by a stage.
    pub fn objects_before_certificate(&self) -> Vec<Value> {
        let mut secret = self.secret_with(&Issued { chain: String::new(), key: String::new(), serial: 0 });
        secret["data"] = json!({});
        vec![secret, self.service(), self.kingress()]
    }

    /// The KIngress.
    pub fn kingress(&self) -> Value {
        let (namespace, revision, external) = (&self.namespace, self.revision(), self.external_host());
        let rule = |hosts: &[String], visibility: &str| {
            let split = json!({
                "serviceNamespace": namespace, "serviceName": revision, "servicePort": 80, "percent": 100,
                "appendHeaders": {"Knative-Serving-Namespace": namespace, "Knative-Serving-Revision": revision},
            });
            json!({"hosts": hosts, "visibility": visibility, "http": {"paths": [{"splits": [split]}]}})
        };
        let external_hosts = [external.clone()];
        json!({
            "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "Ingress",
            "metadata": {
                "namespace": namespace, "name": self.name,
                "annotations": {"networking.knative.dev/ingress.class": kingress::CLASS},
                "labels": {
                    "serving.knative.dev/route": self.name, "serving.knative.dev/routeNamespace": namespace,
                    "serving.knative.dev/service": self.name,
                },
            },
            "spec": {
                "httpOption": "Enabled",
                "rules": [rule(&self.local_hosts(), "ClusterLocal"), rule(&external_hosts, "ExternalIP")],
                "tls": [{"hosts": external_hosts, "secretName": self.secret_name(), "secretNamespace": namespace}],
            },
        })
    }

    /// The public Service of the revision.
    pub fn service(&self) -> Value {
        let mut annotations = json!({});
        if let Some(replicas) = self.replicas {
            annotations[workload::REPLICAS] = replicas.to_string().into();
            let activators: Vec<String> = self.activators.iter().map(ToString::to_string).collect();
            annotations[workload::ACTIVATORS] = activators.join(",").into();
        }
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "namespace": self.namespace, "name": self.revision(), "annotations": annotations,
                "labels": {"serving.knative.dev/service": self.name, "networking.internal.knative.dev/serviceType": "Public"},
            },
            "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8012}]},
        })
    }

    /// The EndpointSlice with the endpoints that were added.
    pub fn endpoint_slice(&self) -> Value {
        let ready: Vec<_> = self.endpoints.iter().map(|&address| (address, true)).collect();
        let mut slice =
            crate::manifests::endpoint_slice(&self.namespace, &self.revision(), ACTIVATOR_PORT_NAME, &ready);
        slice["metadata"]["name"] = self.revision().into();
        slice
    }

    /// The Secret with another certificate.
    pub fn secret_with(&self, certificate: &Issued) -> Value {
        let mut secret = secret(&self.namespace, &self.secret_name(), certificate);
        secret["metadata"]["labels"] = json!({"networking.internal.knative.dev/certificate-uid": self.name});
        secret["metadata"]["annotations"] = json!({"simulated/names": self.external_host()});
        secret
    }
}

/// Certificates for many services, fast: one key for all of them.
#[derive(Debug)]
pub struct Certificates<'a> {
    ca: &'a TestCa,
    key: rcgen::KeyPair,
}

impl<'a> Certificates<'a> {
    /// Certificates of this authority.
    pub fn of(ca: &'a TestCa) -> Result<Self> {
        Ok(Self { ca, key: crate::ca::new_key()? })
    }

    /// A certificate for the external host of a service.
    pub fn issue(&self, service: &KnativeService) -> Result<Issued, Error> {
        self.ca.issue_with_key(&[&service.external_host()], &self.key)
    }
}
