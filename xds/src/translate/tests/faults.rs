//! What is refused, what is said about it, and that nothing which worked stops working.

use super::*;

fn good() -> Value {
    json!({"rules": [rule(&["shop.test"], "ExternalIP", "hello")]})
}

/// Replaces one field of a good KIngress.
fn with(pointer: &str, value: Value) -> Value {
    let mut spec = good();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
        object => object[field] = value,
    }
    spec
}

#[test]
fn a_bad_kingress_is_named_with_its_field_and_the_last_good_stays() {
    const PATH: &str = "/rules/0/http/paths/0";
    const SPLIT: &str = "/rules/0/http/paths/0/splits/0";
    let at = |base: &str, field: &str| format!("{base}/{field}");
    for (pointer, value, says) in [
        ("/rules".to_owned(), json!([]), "spec.rules: at least one rule"),
        ("/httpOption".to_owned(), json!("Maybe"), "spec.httpOption: \"Maybe\" is neither"),
        ("/rules/0/visibility".to_owned(), json!("Secret"), "spec.rules[0].visibility: \"Secret\" is neither"),
        ("/rules/0/hosts".to_owned(), json!(["ok.test", "a:80"]), "spec.rules[0].hosts[1]: host \"a:80\" has a port"),
        ("/rules/0/http".to_owned(), json!(null), "spec.rules[0].http.paths: at least one path"),
        (at(PATH, "path"), json!("foo"), "spec.rules[0].http.paths[0].path: \"foo\" can never match"),
        (at(PATH, "rewriteHost"), json!("a b"), "paths[0].rewriteHost: \"a b\" is not a host name"),
        (at(PATH, "headers"), json!({"a b": {}}), "paths[0].headers: \"a b\" is not an HTTP header name"),
        (at(PATH, "appendHeaders"), json!({"X": "a\r\nb"}), "paths[0].appendHeaders: the value of header \"x\""),
        (at(PATH, "splits"), json!([]), "paths[0].splits: at least one split"),
        (
            at(PATH, "splits"),
            json!([split("hello", 40), split("other", 50)]),
            "paths[0].splits: the percents sum up to 90",
        ),
        (at(SPLIT, "percent"), json!(101), "splits[0].percent: 101 is not within 0 to 100"),
        (at(PATH, "splits"), json!([split("a", -1), split("b", 101)]), "splits[0].percent: -1 is not within 0 to 100"),
        (
            at(SPLIT, "servicePort"),
            json!(65_536),
            "splits[0].servicePort: port 65536 is out of range; ports are 1 to 65535",
        ),
        (at(SPLIT, "servicePort"), json!("UP"), "splits[0].servicePort: \"UP\" is not the name of a port"),
        (at(SPLIT, "serviceName"), json!("a/b"), "splits[0].serviceName: \"a/b\" is not the name of a Service"),
        (at(SPLIT, "serviceNamespace"), json!("bank"), "splits[0].serviceNamespace: \"bank\" is not the KIngress' own"),
        (at(SPLIT, "appendHeaders"), json!({"Host": "x"}), "splits[0].appendHeaders: header \"host\" belongs to"),
        (
            "/tls".to_owned(),
            json!([{"hosts": ["shop.test"]}]),
            "spec.tls[0].secretName: the name of a Secret is needed",
        ),
        (
            "/tls".to_owned(),
            json!([{"hosts": ["shop.test"], "secretName": "c", "secretNamespace": "bank"}]),
            "spec.tls[0].secretNamespace: Secrets of namespace \"bank\" are not open to \"shop\"",
        ),
        (
            "/tls".to_owned(),
            json!([{"hosts": ["*"], "secretName": "c"}]),
            "spec.tls[0].hosts: a certificate needs server names",
        ),
    ] {
        let mut world = World::new();
        world.apply([plain_service("hello"), kingress("hello", good())]);
        let before = world.hosts.clone();
        for _ in 0..2 {
            let update = world.apply([kingress("hello", with(&pointer, value.clone()))]);
            assert!(update.is_empty(), "{pointer}");
            assert_eq!(world.hosts, before, "{pointer}");
            let faults = world.faults();
            let named = faults.iter().any(|fault| fault.starts_with("KIngress shop/hello: ") && fault.contains(says));
            assert!(named, "{pointer}: {faults:#?}");
            world.apply([kingress("hello", good())]);
            assert_eq!(world.faults(), [""; 0], "{pointer}");
        }
    }
}

#[test]
fn a_bad_ingress_is_named_with_its_field_and_the_last_good_stays() {
    let path = |path: &str, kind: &str, backend: Value| json!({"rules": [{"host": "shop.test", "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]});
    let port = |port: Value| json!({"service": {"name": "s0", "port": port}});
    for (spec, says) in [
        (json!({}), "spec: either a rule or a defaultBackend is needed"),
        (json!({"rules": [ingress_rule("a:80", &[("Prefix", "/")])]}), "spec.rules[0].host: host \"a:80\" has a port"),
        (path("a", "Prefix", backend("s0")), "spec.rules[0].http.paths[0].path: \"a\" does not start with `/`"),
        (path("/", "Regex", backend("s0")), "paths[0].pathType: \"Regex\" is none of Exact, Prefix"),
        (path("/", "Prefix", json!({"resource": {"kind": "Bucket", "name": "b"}})), "paths[0].backend: only a Service"),
        (path("/", "Prefix", port(json!({"number": 70_000}))), "backend.service.port: port 70000 is out of range"),
        (path("/", "Prefix", port(json!({}))), "backend.service.port: \"\" is not the name of a port"),
    ] {
        let mut world = World::new();
        let good = ingress("shop", json!({"rules": [ingress_rule("shop.test", &[("Prefix", "/")])]}));
        world.apply([plain_service("s0"), good.clone()]);
        assert!(world.apply([ingress("shop", spec)]).is_empty(), "{says}");
        assert_eq!(world.host_names(), ["shop.test"]);
        let fault = world.fault();
        assert!(fault.starts_with("Ingress shop/shop: ") && fault.contains(says), "{fault}");
        world.apply([good]);
        assert_eq!(world.faults(), [""; 0]);
    }
}

#[test]
fn a_path_said_twice_is_served_once_and_named() {
    let mut world = World::new();
    world.apply(["s0", "s1"].map(plain_service));
    world.apply([ingress(
        "shop",
        json!({"rules": [ingress_rule("shop.test", &[("Prefix", "/a"), ("Prefix", "/a/")])]}),
    )]);
    assert_eq!(world.cluster_for("shop.test", "/a"), Some("shop/s0:80"));
    assert!(world.fault().contains("paths[1].path: host \"shop.test\" has \"/a\" twice; the first one counts"));
}

#[test]
fn a_host_of_both_visibilities_is_refused() {
    let mut world = World::new();
    let rules = json!([rule(&["shop.test"], "ExternalIP", "hello"), rule(&["shop.test"], "ClusterLocal", "hello")]);
    world.apply([kingress("hello", json!({"rules": rules}))]);
    assert!(world.hosts.is_empty());
    assert!(world.fault().contains("spec.rules[1].visibility: host \"shop.test\" is ExternalIP in one rule"));
}

#[test]
fn a_missing_service_is_named_and_heals() {
    let mut world = World::new();
    world.apply([kingress("hello", good())]);
    for _ in 0..2 {
        assert_eq!(world.host_names(), ["shop.test"], "the route waits for its cluster");
        assert!(world.clusters.is_empty());
        assert_eq!(world.fault(), "KIngress shop/hello: Service shop/hello does not exist; it is used once it does");
        world.apply([plain_service("hello")]);
        assert_eq!(world.faults(), [""; 0]);
        assert!(world.clusters.contains_key("shop/hello:80"));
        world.delete(ObjectKind::Service, "hello");
    }
}

#[test]
fn a_missing_port_is_named_and_heals() {
    let mut world = World::new();
    world.apply([kingress("hello", good())]);
    for _ in 0..2 {
        world.apply([service(
            "hello",
            json!({"ports": [
            {"name": "https", "port": 443}, {"port": 9090}, {"name": "dns", "port": 80, "protocol": "UDP"}]}),
        )]);
        assert!(world.fault().contains("Service shop/hello has no TCP port 80; it has: 443 (https), 9090"));
        assert!(world.clusters.is_empty());
        world.apply([plain_service("hello")]);
        assert_eq!(world.faults(), [""; 0]);
    }
}

#[test]
fn a_missing_secret_is_named_and_heals_and_its_name_stays_known() {
    let mut world = World::new();
    let spec = with("/tls", json!([{"hosts": ["shop.test"], "secretName": "cert"}]));
    world.apply([plain_service("hello"), kingress("hello", spec)]);
    for _ in 0..2 {
        assert_eq!(world.bindings["shop.test"].secret, reference("cert"));
        assert_eq!(
            world.fault(),
            "KIngress shop/hello: spec.tls: Secret shop/cert does not exist; it is used once it does"
        );
        world.apply([secret("cert", "1")]);
        assert_eq!(world.faults(), [""; 0]);
        world.delete(ObjectKind::Secret, "cert");
    }
}

#[test]
fn a_missing_service_takes_nothing_from_the_other_routes() {
    let mut world = World::new();
    let paths = json!([path("/a", "gone"), path("/", "hello")]);
    world.apply([plain_service("hello"), kingress("hello", with("/rules/0/http/paths", paths))]);
    assert_eq!(world.clusters.keys().collect::<Vec<_>>(), ["shop/hello:80"]);
    assert!(world.fault().contains("Service shop/gone does not exist"));
}

#[test]
fn nothing_is_missing_before_everything_has_been_read() {
    let faults = Faults::default();
    let mut translator = Translator::new(Options::default(), faults.clone());
    translator.accept(ObjectEvent::Applied(kingress("hello", good())));
    translator.flush();
    assert!(faults.is_empty());
    translator.accept(ObjectEvent::Synced);
    translator.flush();
    assert_eq!(faults.len(), 1);
}

#[test]
fn a_bad_service_or_slice_is_named_and_the_last_good_stays() {
    let mut world = World::new();
    world.apply([kingress("hello", good()), plain_service("hello"), pods("s", "hello", 8012, &["10.0.0.1"])]);
    for (bad, says) in [
        (
            service("hello", json!({"ports": [{"port": 0}]})),
            "Service shop/hello: spec.ports[0].port: port 0 is out of range",
        ),
        (
            service("hello", json!({"type": "ExternalName", "externalName": "a b"})),
            "Service shop/hello: spec.externalName: \"a b\" is not a DNS name",
        ),
        (
            pods("s", "hello", 8012, &["10.0.0.1", "pod.test"]),
            "EndpointSlice shop/s: endpoints[1].addresses[0]: \"pod.test\" is not an IP address",
        ),
        (
            slice("s", "hello", json!({"ports": [{"name": "http", "port": 70_000}]})),
            "EndpointSlice shop/s: ports[0].port: port 70000 is out of range",
        ),
    ] {
        assert!(world.apply([bad]).is_empty(), "{says}");
        assert!(world.fault().contains(says), "{}", world.fault());
        world.apply([plain_service("hello"), pods("s", "hello", 8012, &["10.0.0.1"])]);
        assert_eq!(world.faults(), [""; 0]);
    }
}

#[test]
fn a_slice_without_the_label_is_named_and_not_used() {
    let mut world = World::new();
    let slice = json!({"metadata": {"namespace": "shop", "name": "s"}, "addressType": "IPv4", "endpoints": []});
    world.apply([Object::EndpointSlice(serde_json::from_value(slice).unwrap())]);
    assert!(world.fault().contains("metadata.labels[kubernetes.io/service-name]"));
    world.delete(ObjectKind::EndpointSlice, "s");
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn an_object_beyond_its_bounds_is_refused() {
    let limits = Limits { hosts_per_object: 2, routes_per_host: 2, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    world.apply([kingress("a", json!({"rules": [rule(&["a.test", "b.test"], "", "s"), rule(&["c.test"], "", "s")]}))]);
    assert!(world.fault().contains("spec.rules: 3 hosts in the object are more than the 2"));
    let paths = json!([path("/a", "s"), path("/b", "s"), path("/c", "s")]);
    world.apply([kingress("a", with("/rules/0/http/paths", paths))]);
    assert!(world.fault().contains("spec.rules: 3 paths of one host are more than the 2"));
    assert!(world.hosts.is_empty());
}

#[test]
fn many_faults_of_one_object_are_counted() {
    let hosts: Vec<_> = (0..30).map(|n| format!("bad {n}")).collect();
    let mut world = World::new();
    world.apply([kingress("a", with("/rules/0/hosts", json!(hosts)))]);
    assert_eq!(world.faults().len(), 21);
    assert!(world.faults().iter().any(|fault| fault.ends_with("and 10 more faults")));
}

#[test]
fn who_makes_a_shared_host_too_long_is_left_out_until_there_is_room() {
    let limits = Limits { routes_per_host: 3, ..Limits::default() };
    let mut world = World::with(Options { limits, ..Options::default() });
    world.apply(["s0", "s1"].map(plain_service));
    let of = |name: &str, second, paths| {
        ingress_with(name, &made(second), json!({"rules": [ingress_rule("shop.test", paths)]}))
    };
    world.apply([of("a", 1, &[("Exact", "/a"), ("Exact", "/b")]), of("b", 2, &[("Exact", "/c"), ("Exact", "/d")])]);
    assert!(world.fault().contains("Ingress shop/b: spec.rules: host \"shop.test\" has more than 3 paths"));
    assert_eq!(world.cluster_for("shop.test", "/c"), None);
    world.apply([of("a", 1, &[("Exact", "/a")])]);
    assert_eq!(world.cluster_for("shop.test", "/c"), Some("shop/s0:80"));
    assert_eq!(world.faults(), [""; 0]);
}
