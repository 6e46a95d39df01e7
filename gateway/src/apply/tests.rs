use std::sync::Mutex;

use xds::ObjectRef;
use xds::resource::{
    Discovery, Forward, PathMatch, Route, RouteSet, SecretVersion, Split, UpstreamProtocol, Visibility, WildcardDepth,
};

use super::*;
use crate::listener::ListenerName;
use crate::message::{Fields, RequestHead, Version};
use crate::proxy::admit::{Arrival, follow_change};
use crate::route::{Decision, Matched, RequestFacts, match_request};

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl SecretEvents for Heard {
    fn secret_changed(&self, secret: &SecretRef, version: &str) {
        self.0.lock().unwrap().push(format!("{}/{} {version}", secret.namespace, secret.name));
    }

    fn secret_removed(&self, secret: &SecretRef) {
        self.0.lock().unwrap().push(format!("{}/{} gone", secret.namespace, secret.name));
    }
}

struct Rig {
    tables: Tables,
    heard: Arc<Heard>,
    applier: Applier,
}

fn rig() -> Rig {
    let tables = Tables::default();
    let heard = Arc::new(Heard::default());
    let applier = Applier::new(Arc::clone(&tables), Arc::clone(&heard) as _);
    Rig { tables, heard, applier }
}

fn pattern(text: &str) -> HostPattern {
    HostPattern::new(Arc::from(text))
}

fn name(text: &str) -> ClusterName {
    ClusterName::new(Arc::from(text))
}

fn cluster() -> resource::Cluster {
    resource::Cluster { protocol: UpstreamProtocol::Http1, discovery: Discovery::Endpoints }
}

fn endpoints(port: u16) -> EndpointSet {
    EndpointSet { addresses: Arc::from([SocketAddr::from(([10, 0, 0, 1], port))]) }
}

fn routes_to(cluster: &str) -> PackedRouteSet {
    let split = Split { cluster: name(cluster), weight: 100, set_headers: Vec::new() };
    let action = Forward { splits: vec![split], set_headers: Vec::new(), rewrite_host: None, force_http1: false };
    let route = Route { path: PathMatch::StringPrefix(Arc::from("/")), headers: Vec::new(), action };
    PackedRouteSet::pack(&RouteSet { routes: vec![route], ..RouteSet::default() })
}

fn host(routes: &PackedRouteSet) -> VirtualHost {
    VirtualHost {
        visibility: Visibility::External,
        wildcard_depth: WildcardDepth::One,
        redirect_to_https: false,
        routes: routes.clone(),
    }
}

fn matched(tables: &Tables, host: &str) -> Option<Matched> {
    let fields = Fields::default();
    let listener = ListenerName::ExternalHttp;
    let facts = RequestFacts { listener, tls: None, authority: host, path: "/", fields: &fields };
    match match_request(&tables.load(), &facts) {
        Decision::Forward(matched) => Some(matched),
        _ => None,
    }
}

fn cluster_for(tables: &Tables, host: &str) -> Option<String> {
    matched(tables, host).map(|matched| matched.cluster().to_owned())
}

fn ports(tables: &Tables, cluster: &str) -> Vec<u16> {
    let snapshot = tables.load();
    let endpoints = snapshot.clusters.get(cluster).expect("applied").endpoints();
    endpoints.addresses().iter().map(SocketAddr::port).collect()
}

/// `shop.test` goes to `a`, which has an endpoint.
fn with_shop() -> Rig {
    let mut rig = rig();
    rig.applier.apply(Update {
        version: 1,
        clusters: vec![(name("a"), Some(cluster()))],
        endpoints: vec![(name("a"), Some(endpoints(1)))],
        virtual_hosts: vec![(pattern("shop.test"), Some(host(&routes_to("a"))))],
        ..Update::default()
    });
    rig
}

#[test]
fn one_update_brings_a_host_with_its_cluster_and_endpoints() {
    let rig = with_shop();
    assert_eq!(cluster_for(&rig.tables, "shop.test").as_deref(), Some("a"));
    assert_eq!(ports(&rig.tables, "a"), [1]);
    assert_eq!(*rig.applier.applied().borrow(), 1);
}

#[test]
fn clusters_and_endpoints_change_without_a_new_snapshot() {
    let mut rig = with_shop();
    let before = rig.tables.load_full();
    rig.applier.apply(Update { version: 2, endpoints: vec![(name("a"), Some(endpoints(2)))], ..Update::default() });
    rig.applier.apply(Update { version: 3, clusters: vec![(name("b"), Some(cluster()))], ..Update::default() });
    assert!(Arc::ptr_eq(&before, &rig.tables.load_full()));
    assert_eq!(ports(&rig.tables, "a"), [2]);
    assert!(ports(&rig.tables, "b").is_empty());
    assert_eq!(*rig.applier.applied().borrow(), 3);
}

#[test]
fn endpoints_that_come_before_their_cluster_wait_for_it() {
    let mut rig = rig();
    rig.applier.apply(Update { version: 1, endpoints: vec![(name("a"), Some(endpoints(1)))], ..Update::default() });
    rig.applier.apply(Update { version: 2, clusters: vec![(name("a"), Some(cluster()))], ..Update::default() });
    assert_eq!(ports(&rig.tables, "a"), [1]);
}

#[test]
fn a_replaced_cluster_keeps_its_endpoints() {
    let mut rig = with_shop();
    let h2c = resource::Cluster { protocol: UpstreamProtocol::H2c, discovery: Discovery::Endpoints };
    rig.applier.apply(Update { version: 2, clusters: vec![(name("a"), Some(h2c))], ..Update::default() });
    assert_eq!(ports(&rig.tables, "a"), [1]);
    assert_eq!(rig.tables.load().clusters.get("a").expect("applied").protocol(), UpstreamProtocol::H2c);
}

#[test]
fn a_route_to_an_unknown_cluster_keeps_going_where_it_went_and_heals_when_the_cluster_appears() {
    let mut rig = with_shop();
    let hosts = vec![(pattern("shop.test"), Some(host(&routes_to("b"))))];
    rig.applier.apply(Update { version: 2, virtual_hosts: hosts, ..Update::default() });
    assert_eq!(cluster_for(&rig.tables, "shop.test").as_deref(), Some("a"));
    let clusters = vec![(name("b"), Some(cluster()))];
    rig.applier.apply(Update { version: 3, clusters, ..Update::default() });
    assert_eq!(cluster_for(&rig.tables, "shop.test").as_deref(), Some("b"));
}

#[test]
fn a_request_that_waits_follows_its_host_where_this_leads_by_now() {
    let mut rig = with_shop();
    let peer = std::net::IpAddr::from([127, 0, 0, 1]);
    let arrival = Arrival { listener: ListenerName::ExternalHttp, peer, tls: None };
    let request = RequestHead::new(Version::Http11, http::Method::GET, b"shop.test", b"/");
    let mut waiting = matched(&rig.tables, "shop.test").expect("forwarded");
    let mut now_at = |rig: &Rig| {
        follow_change(&mut waiting, &rig.tables.load(), &arrival, &request);
        waiting.cluster().to_owned()
    };
    let lead_to = |to: &str| vec![(pattern("shop.test"), Some(host(&routes_to(to))))];
    rig.applier.apply(Update { version: 2, virtual_hosts: lead_to("b"), ..Update::default() });
    assert_eq!(now_at(&rig), "a", "what was kept of before, for b is not known");
    rig.applier.apply(Update { version: 3, clusters: vec![(name("b"), Some(cluster()))], ..Update::default() });
    assert_eq!(now_at(&rig), "b");
    rig.applier.apply(Update { version: 4, virtual_hosts: lead_to("a"), ..Update::default() });
    assert_eq!(now_at(&rig), "a");
    let gone = vec![(pattern("shop.test"), None)];
    rig.applier.apply(Update { version: 5, virtual_hosts: gone, ..Update::default() });
    assert_eq!(now_at(&rig), "a", "the way that it had when it came");
}

#[test]
fn the_last_good_cluster_serves_on_even_when_the_same_update_drops_it() {
    let mut rig = with_shop();
    rig.applier.apply(Update {
        version: 2,
        clusters: vec![(name("a"), None)],
        endpoints: vec![(name("a"), None)],
        virtual_hosts: vec![(pattern("shop.test"), Some(host(&routes_to("b"))))],
        ..Update::default()
    });
    let matched = matched(&rig.tables, "shop.test").expect("forwarded");
    let held = matched.held_cluster().expect("the route holds it");
    assert_eq!(held.endpoints().addresses().len(), 1);
}

#[test]
fn the_last_good_action_outlives_a_second_bad_change() {
    let mut rig = with_shop();
    for (version, wanted) in [(2, "b"), (3, "c")] {
        let virtual_hosts = vec![(pattern("shop.test"), Some(host(&routes_to(wanted))))];
        rig.applier.apply(Update { version, virtual_hosts, ..Update::default() });
    }
    assert_eq!(cluster_for(&rig.tables, "shop.test").as_deref(), Some("a"));
}

#[test]
fn hosts_of_one_rule_share_their_routes() {
    let mut rig = rig();
    let routes = routes_to("a");
    rig.applier.apply(Update {
        version: 1,
        clusters: vec![(name("a"), Some(cluster()))],
        virtual_hosts: vec![(pattern("a.test"), Some(host(&routes))), (pattern("b.test"), Some(host(&routes)))],
        ..Update::default()
    });
    let snapshot = rig.tables.load();
    let routes = |host: &str| snapshot.routes.lookup(host, ListenerName::ExternalHttp).expect("applied").routes;
    assert!(Arc::ptr_eq(routes("a.test"), routes("b.test")));
}

#[test]
fn a_removed_host_is_gone() {
    let mut rig = with_shop();
    let virtual_hosts = vec![(pattern("shop.test"), None)];
    rig.applier.apply(Update { version: 2, virtual_hosts, ..Update::default() });
    assert_eq!(cluster_for(&rig.tables, "shop.test"), None);
}

#[test]
fn secrets_are_told_to_the_certificate_store() {
    let mut rig = rig();
    let secret = ObjectRef::new("ns", "tls");
    let told = |version, change| Update { version, secrets: vec![(secret.clone(), change)], ..Update::default() };
    rig.applier.apply(told(1, Some(SecretVersion(Arc::from("7")))));
    rig.applier.apply(told(2, None));
    assert_eq!(*rig.heard.0.lock().unwrap(), ["ns/tls 7", "ns/tls gone"]);
}

#[test]
fn a_binding_is_offered_by_name_and_a_pattern_that_is_none_is_refused() {
    let mut rig = rig();
    let secret = ObjectRef::new("ns", "tls");
    let binding = |visibility| Some(resource::TlsBinding { secret: secret.clone(), visibility });
    rig.applier.apply(Update {
        version: 1,
        tls_bindings: vec![
            (pattern("shop.test"), binding(Visibility::External)),
            (pattern("*"), binding(Visibility::External)),
        ],
        ..Update::default()
    });
    let snapshot = rig.tables.load();
    assert_eq!(snapshot.tls.len(), 1);
    let bound = snapshot.tls.lookup("shop.test").expect("bound");
    assert!(Arc::ptr_eq(&bound.secret.name, &secret.name), "the text is shared");
}
