//! Many services in the shape that Knative makes, for what measures memory: a KIngress with three cluster-local hosts
//! and an external one with its own certificate, a Service, an EndpointSlice with one pod, a TLS Secret.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::serde_json::{self, Value, json};
use xds::ObjectRef;
use xds::object::{Object, ObjectKey, ObjectKind, SecretMeta};

/// Services in one namespace, and in one folder.
pub(crate) const NAMESPACE: usize = 100;

/// The objects of a service; `version` makes each of them differ.
pub(crate) fn objects(n: usize, version: u16) -> Vec<Object> {
    let known = "the shape is written below";
    let [kingress, service, slice] = manifests(n, version);
    vec![
        Object::KIngress(serde_json::from_value(kingress).expect(known)),
        Object::Service(serde_json::from_value(service).expect(known)),
        Object::EndpointSlice(serde_json::from_value(slice).expect(known)),
        Object::Secret(SecretMeta { object: secret(n), secret_type: None, version: version.to_string().into() }),
    ]
}

/// The names of these objects.
pub(crate) fn keys(n: usize) -> Vec<ObjectKey> {
    let named = |kind, name: String| ObjectKey { kind, object: ObjectRef::new(namespace(n), name) };
    vec![
        named(ObjectKind::KIngress, name(n)),
        named(ObjectKind::Service, format!("{}-00001", name(n))),
        named(ObjectKind::EndpointSlice, format!("{}-00001-x7x2p", name(n))),
        ObjectKey { kind: ObjectKind::Secret, object: secret(n) },
    ]
}

/// The name of its Secret.
pub(crate) fn secret(n: usize) -> ObjectRef {
    ObjectRef::new(namespace(n), format!("route-{}-cert", name(n)))
}

fn name(n: usize) -> String {
    format!("hello-{n:06}")
}

fn namespace(n: usize) -> String {
    format!("team-{:04}", n / NAMESPACE)
}

/// KIngress, Service and EndpointSlice.
fn manifests(n: usize, version: u16) -> [Value; 3] {
    let (namespace, name) = (namespace(n), name(n));
    let service = format!("{name}-00001");
    let class = json!({"networking.knative.dev/ingress.class": "postern.ingress.networking.knative.dev"});
    let headers = json!({"Knative-Serving-Namespace": namespace, "Knative-Serving-Revision": service});
    let splits = json!([{"serviceNamespace": namespace, "serviceName": service, "servicePort": 80, "percent": 100,
        "appendHeaders": headers}]);
    let path = if version == 1 { json!({"splits": splits}) } else { json!({"path": "/", "splits": splits}) };
    let local = ["", ".svc", ".svc.cluster.local"].map(|end| format!("{name}.{namespace}{end}"));
    let external = format!("{name}.{namespace}.example.com");
    let port = if version == 1 { "http" } else { "http2" };
    let tls = json!([{"hosts": [external], "secretName": secret(n).name, "secretNamespace": namespace}]);
    let metadata = json!({"namespace": namespace, "name": name, "annotations": class,
        "creationTimestamp": "2026-01-01T00:00:00Z"});
    let labels = json!({"kubernetes.io/service-name": service});
    [
        json!({"apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "Ingress", "metadata": metadata,
            "spec": {"httpOption": "Enabled", "tls": tls, "rules": [
                {"hosts": local, "visibility": "ClusterLocal", "http": {"paths": [path]}},
                {"hosts": [external], "visibility": "ExternalIP", "http": {"paths": [path]}}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": service},
            "spec": {"ports": [{"name": port, "port": 80}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"namespace": namespace, "name": format!("{service}-x7x2p"), "labels": labels},
            "addressType": "IPv4", "ports": [{"name": port, "port": 8012}],
            "endpoints": [{"addresses": [format!("10.{}.{}.{version}", n >> 8 & 255, n & 255)]}]}),
    ]
}

/// Writes these services as files below a directory: three objects in one, the Secret in another.
pub(crate) fn write(root: &Path, services: std::ops::Range<usize>) -> io::Result<()> {
    for n in services {
        std::fs::create_dir_all(root.join(namespace(n)))?;
        let documents = manifests(n, 1).map(|manifest| format!("---\n{manifest}\n"));
        std::fs::write(root.join(format!("{}/{}.yaml", namespace(n), name(n))), documents.concat())?;
        write_secret(root, n, 1)?;
    }
    Ok(())
}

/// Writes the Secret of a service, as long as one with a chain of two ECDSA certificates.
pub(crate) fn write_secret(root: &Path, n: usize, version: usize) -> io::Result<()> {
    let ObjectRef { namespace, name } = secret(n);
    let chain = format!("{n:08}{version:08}").repeat(160);
    let key = format!("{n:08}{version:08}").repeat(19);
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\ntype: kubernetes.io/tls\n\
         data:\n  tls.crt: {chain}\n  tls.key: {key}\n"
    );
    std::fs::write(secret_path(root, n), text)
}

fn secret_path(root: &Path, n: usize) -> PathBuf {
    root.join(format!("{}/{}-tls.yaml", namespace(n), name(n)))
}
