//! Prints what the running tables cost: bytes a service, time of an Update and of a lookup.
//!
//! `cargo run --release -p postern --example tables_memory -- 1000 10000 100000`
//!
//! A service is what Knative makes: three cluster-local hosts and one external one with its own TLS Secret, one rule
//! with the two headers that Knative sets, one cluster with one endpoint. Texts and routes are counted in full, though
//! a gateway with its own translator shares them with it.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certstore::SecretRef;
use postern::apply::{Applier, SecretEvents};
use postern::listener::ListenerName;
use postern::route::{RequestFacts, match_request};
use postern::tables::Tables;
use xds::resource::{
    Cluster, ClusterName, Discovery, EndpointSet, Forward, HostPattern, PackedRouteSet, PathMatch, Route, RouteSet,
    SetHeader, Split, TlsBinding, UpstreamProtocol, VirtualHost, Visibility, WildcardDepth,
};
use xds::{ObjectRef, Update};

#[derive(Debug)]
struct NoSecrets;

impl SecretEvents for NoSecrets {
    fn secret_changed(&self, _secret: &SecretRef, _version: &str) {}
    fn secret_removed(&self, _secret: &SecretRef) {}
}

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|count| count.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000, 10_000, 100_000] } else { counts };
    println!("{:>9} {:>12} {:>12} {:>12} {:>12}", "services", "bytes each", "ns/add", "ns/update", "ns/lookup");
    for count in counts {
        measure(count);
    }
}

fn measure(count: usize) {
    let tables = Tables::default();
    let mut applier = Applier::new(Arc::clone(&tables), Arc::new(NoSecrets));
    let before = resident();
    let shared = Shared::default();
    let added = timed(count, |service| applier.apply(shared.update(service, 1)));
    let bytes = resident().saturating_sub(before) / count;
    let sample = count.min(10_000);
    let updated = timed(sample, |at| applier.apply(shared.update(at * (count / sample), 2)));
    let fields = postern::message::Fields::default();
    let looked_up = timed(sample, |at| {
        let host = external_host(at * 7919 % count);
        let listener = ListenerName::ExternalHttp;
        let facts = RequestFacts { listener, tls: None, authority: &host, path: "/", fields: &fields };
        black_box(match_request(&tables.load(), &facts));
    });
    println!("{count:>9} {bytes:>12} {:>12} {:>12} {:>12}", added.as_nanos(), updated.as_nanos(), looked_up.as_nanos());
}

/// The mean time of a call.
fn timed(count: usize, mut call: impl FnMut(usize)) -> Duration {
    let started = Instant::now();
    (0..count).for_each(&mut call);
    started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX)
}

/// Texts that a translator interns.
struct Shared {
    root: Arc<str>,
    revision: Arc<str>,
    namespace: Arc<str>,
    default: Arc<str>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            root: Arc::from("/"),
            revision: Arc::from("knative-serving-revision"),
            namespace: Arc::from("knative-serving-namespace"),
            default: Arc::from("default"),
        }
    }
}

fn external_host(service: usize) -> String {
    format!("svc-{service:06}.default.apps.example.com")
}

impl Shared {
    fn update(&self, service: usize, version: u64) -> Update {
        let name = format!("svc-{service:06}");
        let cluster = ClusterName::new(Arc::from(format!("default/{name}-{version:05}:80")));
        let external = HostPattern::new(Arc::from(external_host(service)));
        let routes = PackedRouteSet::pack(&self.routes(&name, &cluster, version));
        let local = [".default", ".default.svc", ".default.svc.cluster.local"];
        let local = local.map(|suffix| HostPattern::new(Arc::from(format!("{name}{suffix}"))));
        let mut virtual_hosts: Vec<_> =
            local.into_iter().map(|host| (host, Some(virtual_host(&routes, Visibility::ClusterLocal)))).collect();
        virtual_hosts.push((external.clone(), Some(virtual_host(&routes, Visibility::External))));
        let secret = ObjectRef { namespace: Arc::clone(&self.default), name: Arc::from(format!("route-{name}")) };
        let octets = u32::try_from(service).unwrap_or_default().to_be_bytes();
        let address = SocketAddr::from(([10, octets[1], octets[2], octets[3]], 8012));
        let old = (version > 1).then(|| ClusterName::new(Arc::from(format!("default/{name}-{:05}:80", version - 1))));
        let resource = Cluster { protocol: UpstreamProtocol::Http1, discovery: Discovery::Endpoints };
        let mut clusters = vec![(cluster.clone(), Some(resource))];
        clusters.extend(old.map(|old| (old, None)));
        Update {
            version,
            clusters,
            endpoints: vec![(cluster, Some(EndpointSet { addresses: Arc::from([address]) }))],
            virtual_hosts,
            tls_bindings: vec![(external, Some(TlsBinding { secret, visibility: Visibility::External }))],
            ..Update::default()
        }
    }

    fn routes(&self, name: &str, cluster: &ClusterName, version: u64) -> RouteSet {
        let revision = Arc::from(format!("{name}-{version:05}"));
        let set_headers = vec![
            SetHeader { name: Arc::clone(&self.revision), value: revision },
            SetHeader { name: Arc::clone(&self.namespace), value: Arc::clone(&self.default) },
        ];
        let split = Split { cluster: cluster.clone(), weight: 100, set_headers };
        let action = Forward { splits: vec![split], set_headers: Vec::new(), rewrite_host: None, force_http1: false };
        let path = PathMatch::StringPrefix(Arc::clone(&self.root));
        RouteSet { routes: vec![Route { path, headers: Vec::new(), action }], probe_hash: Some([7; 32]) }
    }
}

fn virtual_host(routes: &PackedRouteSet, visibility: Visibility) -> VirtualHost {
    VirtualHost { visibility, wildcard_depth: WildcardDepth::Any, redirect_to_https: false, routes: routes.clone() }
}

/// Resident bytes of this process, as the kernel counts them.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or_default() * 1024
}
