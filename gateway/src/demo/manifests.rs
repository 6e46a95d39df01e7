//! The demonstration's manifests: for each service what Knative would have made, and a Secret in a file of its own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::DemoError;
use super::ca::{DemoCa, Issued};

/// A directory of manifests, and the means to renew a certificate in it.
pub(super) struct Manifests {
    /// What the gateway reads.
    pub(super) root: PathBuf,
    /// The root certificate, for curl.
    pub(super) ca_file: PathBuf,
    /// The same, for the demonstration's own clients.
    pub(super) ca_pem: String,
    /// How many services there are.
    pub(super) services: u32,
    ca: DemoCa,
    next_serial: AtomicU64,
}

impl Manifests {
    /// Writes manifests for `services` services below `folder`, spread over `backends`.
    pub(super) fn write(folder: &Path, services: u32, ca: DemoCa, backends: &[SocketAddr]) -> Result<Self, DemoError> {
        let root = folder.join("manifests");
        let ca_file = folder.join("ca.pem");
        for below in ["services", "secrets"] {
            fs::create_dir_all(root.join(below)).map_err(super::io("make the manifests' directory"))?;
        }
        fs::write(&ca_file, ca.root_pem()).map_err(super::io("write the CA certificate"))?;
        let ca_pem = ca.root_pem().to_owned();
        let manifests = Self { root, ca_file, ca_pem, services, ca, next_serial: AtomicU64::new(1) };
        for (number, backend) in (0..services).zip(backends.iter().cycle()) {
            let text = service(number, &manifests.host(number), *backend);
            fs::write(manifests.file("services", &name(number)), text).map_err(super::io("write a manifest"))?;
            manifests.renew(number)?;
        }
        Ok(manifests)
    }

    /// The host of a service.
    pub(super) fn host(&self, number: u32) -> String {
        format!("{}.demo.test", name(number % self.services))
    }

    /// Issues a new certificate for a service and puts its Secret in place in one step. Returns its serial number.
    pub(super) fn renew(&self, number: u32) -> Result<u64, DemoError> {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let issued = self.ca.issue(&self.host(number), serial)?;
        let path = self.file("secrets", &secret_name(number));
        replace(&path, &secret(number, &issued)).map_err(super::io("write a Secret"))?;
        Ok(serial)
    }

    fn file(&self, below: &str, object: &str) -> PathBuf {
        self.root.join(below).join(format!("{object}.yaml"))
    }
}

/// Writes next to `path` and renames, so that no reader sees half of it. The other name is not one of a manifest.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, text)?;
    fs::rename(next, path)
}

fn name(number: u32) -> String {
    format!("shop-{number:05}")
}

fn secret_name(number: u32) -> String {
    format!("{}-tls", name(number))
}

fn service(number: u32, host: &str, backend: SocketAddr) -> String {
    let (name, secret) = (name(number), secret_name(number));
    // What both visibilities have in common.
    let path = format!(
        "      - splits:
        - serviceName: {name}
          serviceNamespace: demo
          servicePort: 80
          percent: 100"
    );
    format!(
        "apiVersion: networking.internal.knative.dev/v1alpha1
kind: Ingress
metadata:
  name: {name}
  namespace: demo
  annotations:
    networking.knative.dev/ingress.class: postern.ingress.networking.knative.dev
spec:
  tls:
  - hosts: [{host}]
    secretName: {secret}
    secretNamespace: demo
  rules:
  - hosts: [{host}]
    visibility: ExternalIP
    http:
      paths:
{path}
          appendHeaders:
            demo-service: {name}
  - hosts: [{name}.demo, {name}.demo.svc, {name}.demo.svc.cluster.local]
    visibility: ClusterLocal
    http:
      paths:
{path}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: demo
spec:
  ports:
  - name: http
    port: 80
    targetPort: {port}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: demo
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- name: http
  port: {port}
endpoints:
- addresses: [{ip}]
  conditions:
    ready: true
",
        port = backend.port(),
        ip = backend.ip(),
    )
}

fn secret(number: u32, issued: &Issued) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n  namespace: demo\ntype: kubernetes.io/tls\n\
         stringData:\n",
        secret_name(number)
    );
    for (key, pem) in [("tls.crt", &issued.chain_pem), ("tls.key", &issued.key_pem)] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {key}: |");
        for line in pem.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
