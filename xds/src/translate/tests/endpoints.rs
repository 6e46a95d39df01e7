//! Services and EndpointSlices to clusters and addresses.

use super::*;
use crate::resource::{Discovery, UpstreamProtocol};

/// A world with a route to this port of Service `hello`.
fn routed_to(port: Value) -> World {
    let mut world = World::new();
    let splits = json!([{"serviceName": "hello", "servicePort": port, "percent": 100}]);
    world.apply([kingress(
        "hello",
        json!({"rules": [{"hosts": ["shop.test"], "http": {"paths": [{"splits": splits}]}}]}),
    )]);
    world
}

fn ready(address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

#[test]
fn an_endpoint_is_ready_unless_it_says_otherwise() {
    let mut world = routed_to(json!(80));
    let endpoints = json!([
        {"addresses": ["10.0.0.1"]},
        ready("10.0.0.2", json!({})),
        ready("10.0.0.3", json!({"ready": true, "terminating": true})),
        ready("10.0.0.4", json!({"ready": false, "serving": true})),
    ]);
    let ports = json!([{"name": "http", "port": 8012}]);
    world.apply([plain_service("hello"), slice("hello-1", "hello", json!({"ports": ports, "endpoints": endpoints}))]);
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:8012", "10.0.0.2:8012", "10.0.0.3:8012"]);
}

#[test]
fn an_endpoint_that_ends_and_serves_is_used_while_none_is_ready() {
    let mut world = routed_to(json!(80));
    let ending = |address, serving| ready(address, json!({"ready": false, "serving": serving, "terminating": true}));
    let sliced = |endpoints: &[Value]| {
        slice("s", "hello", json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints}))
    };
    world.apply([plain_service("hello"), sliced(&[ending("10.0.0.1", json!(true)), ending("10.0.0.2", json!(false))])]);
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:80"]);
    world.apply([pods("another", "hello", 80, &["10.0.0.9"])]);
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.9:80"], "a ready one gets everything, in any slice");
    world.delete(ObjectKind::EndpointSlice, "another");
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:80"]);
    // Without a word about it, it does not serve.
    world.apply([sliced(&[ending("10.0.0.1", json!(null))])]);
    assert_eq!(world.addresses("shop/hello:80"), [""; 0]);
}

#[test]
fn addresses_are_the_sorted_union_of_all_slices() {
    let mut world = routed_to(json!(80));
    let six = json!({"addressType": "IPv6", "ports": [{"name": "http", "port": 8013}],
        "endpoints": [{"addresses": ["2001:db8::1"]}]});
    let named = json!({"addressType": "FQDN", "ports": [{"name": "http", "port": 1}],
        "endpoints": [{"addresses": ["pod.test"]}]});
    world.apply([
        plain_service("hello"),
        pods("hello-1", "hello", 8012, &["10.0.0.9", "10.0.0.1"]),
        pods("unlike", "hello", 8012, &["10.0.0.1", "10.0.0.2"]),
        slice("hello-6", "hello", six),
        slice("hello-f", "hello", named),
        pods("hello-1", "others", 8012, &["10.9.9.9"]),
        pods("hello-1", "hello", 8012, &["10.0.0.9", "10.0.0.1"]),
        pods("elsewhere/hello-1", "hello", 8012, &["10.9.9.8"]),
    ]);
    assert_eq!(world.faults(), [""; 0]);
    assert_eq!(
        world.addresses("shop/hello:80"),
        ["10.0.0.1:8012", "10.0.0.2:8012", "10.0.0.9:8012", "[2001:db8::1]:8013"]
    );
    world.delete(ObjectKind::EndpointSlice, "hello-1");
    world.delete(ObjectKind::EndpointSlice, "hello-6");
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:8012", "10.0.0.2:8012"]);
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first() {
    let mut world = routed_to(json!(80));
    world.apply([plain_service("hello"), pods("s", "hello", 8012, &["10.0.0.1"])]);
    world.apply([pods("s", "other", 8012, &["10.0.0.1"])]);
    assert_eq!(world.addresses("shop/hello:80"), [""; 0]);
}

#[test]
fn the_port_is_found_by_the_name_of_the_services_port() {
    let ports = json!([{"name": "http", "port": 80, "targetPort": "user-port"}, {"name": "metrics", "port": 9090}]);
    let sliced = json!({"ports": [{"name": "metrics", "port": 9091}, {"name": "http", "port": 8012},
        {"name": "http", "port": 53, "protocol": "UDP"}], "endpoints": [{"addresses": ["10.0.0.1"]}]});
    for (port, cluster, address) in [
        (json!(80), "shop/hello:80", "10.0.0.1:8012"),
        (json!("http"), "shop/hello:http", "10.0.0.1:8012"),
        (json!("metrics"), "shop/hello:metrics", "10.0.0.1:9091"),
    ] {
        let mut world = routed_to(port);
        world.apply([service("hello", json!({"ports": ports})), slice("hello-1", "hello", sliced.clone())]);
        assert_eq!(world.addresses(cluster), [address]);
    }
}

#[test]
fn an_unnamed_port_is_that_of_the_slice() {
    let mut world = routed_to(json!(80));
    let sliced = json!({"ports": [{"port": 8012}], "endpoints": [{"addresses": ["10.0.0.1"]}]});
    world.apply([service("hello", json!({"clusterIP": "None", "ports": [{"port": 80}]})), slice("h", "hello", sliced)]);
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:8012"]);
}

#[test]
fn the_port_that_a_route_names_says_its_protocol() {
    for (port, protocol) in [
        (json!({"name": "http", "port": 80}), UpstreamProtocol::Http1),
        (json!({"name": "http2", "port": 80}), UpstreamProtocol::H2c),
        (json!({"name": "h2c", "port": 80}), UpstreamProtocol::H2c),
        (json!({"name": "grpc", "port": 80, "appProtocol": "kubernetes.io/h2c"}), UpstreamProtocol::H2c),
        (json!({"name": "web", "port": 80, "appProtocol": "h2c"}), UpstreamProtocol::H2c),
        (json!({"name": "web", "port": 80, "appProtocol": "http2"}), UpstreamProtocol::H2c),
        (json!({"name": "web", "port": 80, "appProtocol": "GRPC"}), UpstreamProtocol::H2c),
        (json!({"name": "h2c", "port": 80, "appProtocol": "http"}), UpstreamProtocol::H2c),
        (json!({"name": "web", "port": 80, "appProtocol": "kubernetes.io/ws"}), UpstreamProtocol::Http1),
        (json!({"name": "web", "port": 80, "appProtocol": "example.com/odd"}), UpstreamProtocol::Http1),
        (json!({"name": "https", "port": 80, "appProtocol": "http"}), UpstreamProtocol::Http1),
        (json!({"name": "https", "port": 80, "appProtocol": "kubernetes.io/h2c"}), UpstreamProtocol::H2c),
    ] {
        let mut world = routed_to(json!(80));
        let other = json!({"name": "other", "port": 443, "appProtocol": "https"});
        world.apply([service("hello", json!({"ports": [other, port]}))]);
        assert_eq!(world.clusters["shop/hello:80"].protocol, protocol);
        assert_eq!(world.faults(), [""; 0], "a port that no route names is nobody's fault");
    }
}

#[test]
fn nothing_is_sent_in_clear_to_a_port_that_says_tls_and_the_fault_ends_with_it() {
    let by_protocol = |protocol: &str| json!({"name": "web", "port": 80, "appProtocol": protocol});
    for port in [
        by_protocol("https"),
        by_protocol("HTTPS"),
        by_protocol("kubernetes.io/wss"),
        json!({"name": "http2", "port": 80, "appProtocol": "https"}),
        json!({"name": "https", "port": 80}),
        json!({"name": "https", "port": 80, "appProtocol": "example.com/odd"}),
    ] {
        let mut world = routed_to(json!(80));
        world.apply([plain_service("hello"), pods("s", "hello", 80, &["10.0.0.1"])]);
        for _ in 0..2 {
            assert_eq!((world.addresses("shop/hello:80"), world.faults()), (vec!["10.0.0.1:80".to_owned()], vec![]));
            world.apply([service("hello", json!({"ports": [port]}))]);
            assert!(!world.clusters.contains_key("shop/hello:80") && !world.endpoints.contains_key("shop/hello:80"));
            let fault = world.fault();
            assert!(fault.starts_with("KIngress shop/hello: Service shop/hello: port 80 "), "{fault}");
            assert!(fault.contains("appProtocol") && fault.contains("TLS to endpoints is not implemented"), "{fault}");
            world.apply([plain_service("hello")]);
        }
    }
}

#[test]
fn an_external_name_is_found_by_dns() {
    let dns = |port| Discovery::Dns { host: "kourier-internal.sys.svc".into(), port };
    let spec =
        |ports: Value| json!({"type": "ExternalName", "externalName": "Kourier-Internal.sys.svc.", "ports": ports});
    let mut world = routed_to(json!(80));
    world.apply([service("hello", spec(json!([{"name": "http2", "port": 80}])))]);
    assert_eq!(world.clusters["shop/hello:80"], Cluster { protocol: UpstreamProtocol::H2c, discovery: dns(80) });
    assert!(world.endpoints.is_empty());
    world.apply([service("hello", spec(json!([])))]);
    assert_eq!(world.clusters["shop/hello:80"], Cluster { protocol: UpstreamProtocol::Http1, discovery: dns(80) });
    world.apply([plain_service("hello")]);
    assert_eq!(world.clusters["shop/hello:80"].discovery, Discovery::Endpoints);
    assert_eq!(world.addresses("shop/hello:80"), [""; 0]);
}

#[test]
fn more_endpoints_than_are_used_is_a_fault_that_heals() {
    let limits = Limits { endpoints_per_cluster: 2, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    world.apply([plain_service("hello"), one_host("a", 1, "shop.test")]);
    world.apply([pods("s", "hello", 80, &["10.0.0.1", "10.0.0.2", "10.0.0.3"])]);
    assert_eq!(world.addresses("shop/hello:80"), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(world.fault().contains("Service shop/hello: 3 endpoints are ready, of which the first 2 are used"));
    world.apply([pods("s", "hello", 80, &["10.0.0.1", "10.0.0.2"])]);
    assert_eq!(world.faults(), [""; 0]);
}
