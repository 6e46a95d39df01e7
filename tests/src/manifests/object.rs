//! Services, their EndpointSlices, and Secrets.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::ca::Issued;

/// A ClusterIP Service with one port and, by [`Self::objects`], an EndpointSlice for each port number its endpoints use.
#[derive(Clone, Debug)]
#[must_use]
pub struct Service {
    namespace: String,
    name: String,
    port: u16,
    port_name: String,
    target: Option<Value>,
    endpoints: Vec<(SocketAddr, bool)>,
}

impl Service {
    /// `namespace/name` with port 80, named `http`, and no endpoint.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port: 80,
            port_name: "http".to_owned(),
            target: None,
            endpoints: Vec::new(),
        }
    }

    /// Another port number.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Another port name; `h2c` and `http2` ask for HTTP/2 to the endpoints.
    pub fn port_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.port_name);
        self
    }

    /// What `targetPort` says, where that is not simply the endpoints' port.
    pub fn target_port(mut self, target: impl Into<Value>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Adds a ready endpoint.
    pub fn endpoint(self, address: SocketAddr) -> Self {
        self.endpoint_with(address, true)
    }

    /// Adds an endpoint that isn't ready.
    pub fn unready_endpoint(self, address: SocketAddr) -> Self {
        self.endpoint_with(address, false)
    }

    fn endpoint_with(mut self, address: SocketAddr, ready: bool) -> Self {
        self.endpoints.push((address, ready));
        self
    }

    /// The Service and its EndpointSlices.
    pub fn objects(&self) -> Vec<Value> {
        let target = self.target.clone().or_else(|| self.endpoints.first().map(|(address, _)| address.port().into()));
        let mut objects = vec![json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": {
                "type": "ClusterIP",
                "ports": [{"name": self.port_name, "port": self.port, "targetPort": target.unwrap_or_else(|| self.port.into())}],
            },
        })];
        let mut ports: Vec<u16> = self.endpoints.iter().map(|(address, _)| address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let of_port: Vec<_> =
                self.endpoints.iter().filter(|(address, _)| address.port() == port).copied().collect();
            objects.push(endpoint_slice(&self.namespace, &self.name, &self.port_name, &of_port));
        }
        objects
    }
}

/// An ExternalName Service with one port, named `http`.
pub fn external_name(namespace: &str, name: &str, target: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "ExternalName", "externalName": target, "ports": [{"name": "http", "port": port}]},
    })
}

/// An EndpointSlice of a Service: endpoints that share a port, each with its readiness.
pub fn endpoint_slice(namespace: &str, service: &str, port_name: &str, endpoints: &[(SocketAddr, bool)]) -> Value {
    let port = endpoints.first().map_or(80, |(address, _)| address.port());
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(address, ready)| json!({"addresses": [address.ip().to_string()], "conditions": {"ready": ready}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{service}-{port}"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    })
}

/// A Secret of type `kubernetes.io/tls`. Its data is in base64, as Kubernetes stores it.
pub fn secret(namespace: &str, name: &str, certificate: &Issued) -> Value {
    secret_of(namespace, name, &certificate.chain, &certificate.key)
}

/// A Secret with any text for certificate and key.
pub fn secret_of(namespace: &str, name: &str, certificate: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "data": {"tls.crt": base64(certificate.as_bytes()), "tls.key": base64(key.as_bytes())},
    })
}

/// Base64 (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from_be_bytes([0, chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)]);
        for (sextet, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let index = (group >> shift) & 0x3f;
            text.push(if sextet > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_service_has_a_slice_for_each_port_of_its_endpoints() {
        let service = Service::new("ns", "shop")
            .endpoint("127.0.0.1:1".parse().unwrap())
            .endpoint("127.0.0.2:1".parse().unwrap())
            .endpoint("127.0.0.1:2".parse().unwrap());
        let objects = service.objects();
        assert_eq!(objects.len(), 3);
        assert_eq!(objects[1]["endpoints"].as_array().unwrap().len(), 2);
        assert_eq!(objects[2]["ports"][0]["port"], 2);
    }
}
