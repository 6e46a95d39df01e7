//! Prints what the directory source keeps of each service, and what reading it costs.
//!
//! `cargo run --release -p xds --example dir_memory -- 100000`
//!
//! A service is what Knative makes of one: a file with a `KIngress`, a Service and an `EndpointSlice`, and a file with
//! its TLS Secret.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use xds::source::dir::{DirSource, Options};
use xds::{Faults, ObjectEvent, ObjectRef};

/// Services in one folder.
const FOLDER: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    (0..count).try_for_each(|n| write_service(dir.path(), n))?;
    let (before, cpu_before, start) = (resident_bytes()?, cpu_seconds()?, Instant::now());

    let mut source = DirSource::open(dir.path(), Options::default(), Faults::default())?;
    let mut events = 0;
    let mut most = 0;
    loop {
        let batch = source.next().await;
        events += batch.len();
        most = most.max(resident_bytes()?);
        if batch.contains(&ObjectEvent::Synced) {
            break;
        }
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let per_service = |bytes: usize| bytes.saturating_sub(before) / count;
    println!("services {count}, events {events}, read in {wall:.1} s, CPU {cpu:.1} s");
    println!("resident bytes a service: {} now, {} at most", per_service(resident_bytes()?), per_service(most));

    let reads = 200;
    let cpu_before = cpu_seconds()?;
    let start = Instant::now();
    for n in (0..reads).map(|n| n * 7919 % count) {
        source.secrets().read(&ObjectRef::new("shop", format!("route-{n}-tls")))?;
    }
    println!("reading a Secret: {:.0} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(reads)?));

    for (n, value) in (0..50).map(|n| (n * 7919 % count, n)) {
        fs::write(secret_path(dir.path(), n), secret(n, value + 1))?;
        source.next().await;
    }
    println!("seeing a rotation: {:.0} µs CPU", (cpu_seconds()? - cpu_before) * 1e6 / 50.0);
    Ok(())
}

fn secret_path(root: &Path, n: usize) -> std::path::PathBuf {
    root.join(format!("{}/service-{n}-tls.yaml", n / FOLDER))
}

fn write_service(root: &Path, n: usize) -> std::io::Result<()> {
    if n.is_multiple_of(FOLDER) {
        fs::create_dir(root.join(format!("{}", n / FOLDER)))?;
    }
    fs::write(root.join(format!("{}/service-{n}.yaml", n / FOLDER)), objects(n))?;
    fs::write(secret_path(root, n), secret(n, 0))
}

fn objects(n: usize) -> String {
    let name = format!("service-{n}");
    let mut text = format!(
        "apiVersion: networking.internal.knative.dev/v1alpha1\nkind: Ingress\nmetadata:\n  name: {name}\n  \
         namespace: shop\n  annotations:\n    networking.knative.dev/ingress.class: \
         postern.ingress.networking.knative.dev\nspec:\n  httpOption: Enabled\n  tls:\n  - hosts: \
         [{name}.shop.example.test]\n    secretName: route-{n}-tls\n    secretNamespace: shop\n  rules:\n"
    );
    let local = format!("{name}.shop, {name}.shop.svc, {name}.shop.svc.cluster.local");
    for (hosts, visibility) in [(local, "ClusterLocal"), (format!("{name}.shop.example.test"), "ExternalIP")] {
        let _ = write!(
            text,
            "  - hosts: [{hosts}]\n    visibility: {visibility}\n    http:\n      paths:\n      - splits:\n        \
             - serviceName: {name}-00001\n          serviceNamespace: shop\n          servicePort: 80\n          \
             percent: 100\n          appendHeaders:\n            Knative-Serving-Namespace: shop\n            \
             Knative-Serving-Revision: {name}-00001\n"
        );
    }
    let _ = write!(
        text,
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}-00001\n  namespace: shop\nspec:\n  ports:\n  \
         - name: http\n    port: 80\n    targetPort: 8012\n---\napiVersion: discovery.k8s.io/v1\nkind: \
         EndpointSlice\nmetadata:\n  name: {name}-00001-x7x2q\n  namespace: shop\n  labels:\n    \
         kubernetes.io/service-name: {name}-00001\naddressType: IPv4\nports:\n- name: http\n  port: 8012\nendpoints:\n\
         - addresses: [10.0.0.1]\n  conditions: {{ready: true}}\n- addresses: [10.0.0.2]\n  conditions: {{ready: \
         true}}\n"
    );
    text
}

/// As long as a Secret with a chain of two ECDSA certificates.
fn secret(n: usize, version: usize) -> String {
    let chain = format!("{n:08}{version:08}").repeat(160);
    let key = format!("{n:08}{version:08}").repeat(19);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: route-{n}-tls\n  namespace: shop\ntype: kubernetes.io/tls\n\
         data:\n  tls.crt: {chain}\n  tls.key: {key}\n"
    )
}

fn resident_bytes() -> Result<usize, Box<dyn std::error::Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split_whitespace().nth(1).ok_or("no resident size")?.parse::<usize>()? * 4096)
}

fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no process name")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
