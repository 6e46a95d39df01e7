//! Measures the translator: bytes that it keeps per Knative service, and time per change.
//!
//! Each service has the shape that Knative makes: a KIngress with three cluster-local hosts and an external one with
//! its own certificate, a Service, an EndpointSlice with one pod, a Secret. What the translator tells is kept by
//! nobody here. Texts and lists of addresses that a gateway would share with it are reckoned and told apart.
//!
//! ```text
//! cargo run --release -p xds --example translate_memory -- 100000
//! ```

use std::time::Instant;

use k8s_openapi::serde_json::{self, json};
use xds::object::{Object, SecretMeta};
use xds::translate::{Options, Translator};
use xds::{Faults, ObjectEvent, ObjectRef, Update};

/// Services between two flushes while they are read.
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(20_000), |count| count.parse())?;
    let mut translator = Translator::new(Options::default(), Faults::default());
    // What building objects costs is paid before counting.
    translator.accept(ObjectEvent::Synced);
    feed(&mut translator, 0..BATCH, "warm");
    let before = resident_bytes()?;
    let started = Instant::now();
    let shared = feed(&mut translator, 0..count, "hello");
    let (elapsed, after) = (started.elapsed(), resident_bytes()?);
    let per_service = |bytes: u64| bytes as f64 / count as f64;
    println!("services                      {count:>8}");
    println!("bytes resident per service    {:>8.0}", per_service(after.saturating_sub(before)));
    println!("  of these shared with tables {:>8.0}", per_service(shared));
    println!("us per service, objects made  {:>8.1}", elapsed.as_secs_f64() * 1e6 / count as f64);
    for (what, event) in [("KIngress", 0), ("Service", 1), ("EndpointSlice", 2), ("Secret", 3)] {
        let edits: Vec<_> = (0..1_000).map(|n| objects(n * count / 1_000, "hello", 2).swap_remove(event)).collect();
        let started = Instant::now();
        let changed: usize = edits.into_iter().map(|object| change(&mut translator, object)).sum();
        let each = started.elapsed().as_secs_f64() * 1e6 / 1_000.0;
        println!("us per changed {what:<13}{each:>10.1}   ({changed} resources told)");
    }
    Ok(())
}

/// Takes services in. Returns how many bytes of what was told the translator shares.
fn feed(translator: &mut Translator, services: std::ops::Range<usize>, name: &str) -> u64 {
    let mut shared = 0;
    for n in services {
        for object in objects(n, name, 1) {
            translator.accept(ObjectEvent::Applied(object));
        }
        if n % BATCH == BATCH - 1 {
            shared += translator.flush().map_or(0, |update| shared_bytes(&update));
        }
    }
    shared + translator.flush().map_or(0, |update| shared_bytes(&update))
}

/// Two counters and the content, in steps of 16 bytes as allocators hand them out.
fn shared_bytes(update: &Update) -> u64 {
    let held = |content: usize| (16 + content).next_multiple_of(16) as u64;
    let hosts = update.virtual_hosts.iter().map(|(host, _)| held(host.as_str().len()));
    let clusters = update.clusters.iter().map(|(cluster, _)| held(cluster.as_str().len()));
    let secrets = update.secrets.iter().map(|(secret, _)| held(secret.name.len()));
    let lists = update.endpoints.iter().filter_map(|(_, set)| Some(held(size_of_val(&*set.as_ref()?.addresses))));
    hosts.chain(clusters).chain(secrets).chain(lists).sum()
}

fn change(translator: &mut Translator, object: Object) -> usize {
    translator.accept(ObjectEvent::Applied(object));
    translator.flush().map_or(0, |update| update.len())
}

/// The objects of a service; `version` makes each of them differ.
fn objects(n: usize, name: &str, version: u16) -> Vec<Object> {
    let (namespace, name) = (format!("team-{}", n % 100), format!("{name}-{n:06}"));
    let (service, cert) = (format!("{name}-00001"), format!("route-{name}-cert"));
    let class = json!({"networking.knative.dev/ingress.class": "postern.ingress.networking.knative.dev"});
    let headers = json!({"Knative-Serving-Namespace": namespace, "Knative-Serving-Revision": service});
    let paths = json!([{"appendHeaders": {"X-Version": version.to_string()}, "splits": [{"serviceNamespace": namespace,
        "serviceName": service, "servicePort": 80, "percent": 100, "appendHeaders": headers}]}]);
    let local = ["", ".svc", ".svc.cluster.local"].map(|end| format!("{name}.{namespace}{end}"));
    let external = format!("{name}.{namespace}.example.com");
    let port = if version == 1 { "http" } else { "http2" };
    let meta = |name: &str| json!({"namespace": namespace, "name": name});
    let kingress = json!({
        "metadata": {"namespace": namespace, "name": name, "annotations": class, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"tls": [{"hosts": [external], "secretName": cert, "secretNamespace": namespace}], "rules": [
            {"hosts": local, "visibility": "ClusterLocal", "http": {"paths": paths}},
            {"hosts": [external], "visibility": "ExternalIP", "http": {"paths": paths}}]}});
    let slice = json!({
        "metadata": {"namespace": namespace, "name": format!("{service}-x7x2p"),
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": port, "port": 8012}],
        "endpoints": [{"addresses": [format!("10.{}.{}.{version}", n >> 8 & 255, n & 255)]}]});
    let service = json!({"metadata": meta(&service), "spec": {"ports": [{"name": port, "port": 80}]}});
    let secret = ObjectRef::new(namespace.as_str(), cert.as_str());
    let known = "the shape is written above";
    vec![
        Object::KIngress(serde_json::from_value(kingress).expect(known)),
        Object::Service(serde_json::from_value(service).expect(known)),
        Object::EndpointSlice(serde_json::from_value(slice).expect(known)),
        Object::Secret(SecretMeta { object: secret, secret_type: None, version: version.to_string().into() }),
    ]
}

/// Memory that this process has in use, as Linux counts it.
fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * 4096)
}
