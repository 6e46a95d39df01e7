//! What Knative's Ingress means (reference: Kourier's translator, knative.dev/networking).

use super::*;
use crate::resource::{PathMatch, Route, Visibility, WildcardDepth};

fn served(spec: Value) -> World {
    let mut world = World::new();
    world.apply([plain_service("hello"), plain_service("other"), kingress("hello", spec)]);
    assert_eq!(world.faults(), [""; 0]);
    world
}

/// A KIngress with one host, `shop.test`, and these paths.
fn paths(paths: Value) -> Value {
    json!({"rules": [{"hosts": ["shop.test"], "http": {"paths": paths}}]})
}

fn only_route(world: &World) -> Route {
    let routes = &world.routes["shop.test"].routes;
    assert_eq!(routes.len(), 1);
    routes[0].clone()
}

fn headers(set: &[crate::resource::SetHeader]) -> Vec<(&str, &str)> {
    set.iter().map(|header| (&*header.name, &*header.value)).collect()
}

#[test]
fn every_host_of_a_rule_has_its_visibility_and_external_is_the_default() {
    let world = served(json!({"rules": [
        rule(&["a.test", "b.test"], "", "hello"), rule(&["c.test"], "ClusterLocal", "hello"),
        rule(&["d.test"], "ExternalIP", "hello")]}));
    let visibility: Vec<_> = world.hosts.iter().map(|(host, serves)| (host.as_str(), serves.visibility)).collect();
    let (external, local) = (Visibility::External, Visibility::ClusterLocal);
    assert_eq!(visibility, [("a.test", external), ("b.test", external), ("c.test", local), ("d.test", external)]);
}

#[test]
fn a_rule_without_hosts_is_for_every_host() {
    assert_eq!(served(json!({"rules": [rule(&[], "", "hello")]})).host_names(), ["*"]);
}

#[test]
fn a_wildcard_stands_for_any_number_of_labels() {
    let world = served(json!({"rules": [rule(&["*.Shop.test."], "", "hello")]}));
    assert_eq!(world.hosts["*.shop.test"].wildcard_depth, WildcardDepth::Any);
}

#[test]
fn a_path_is_a_prefix_of_characters_and_the_longest_comes_first() {
    let world =
        served(paths(json!([path("/a", "hello"), path("", "hello"), path("/ab", "other"), path("/b", "other")])));
    let order: Vec<_> = world.routes["shop.test"].routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(order, ["/ab", "/a", "/b", "/"], "stable among equally long ones");
    for (asked, cluster) in [("/abc", "other"), ("/ac", "hello"), ("/bc", "other"), ("/", "hello"), ("/x", "hello")] {
        assert_eq!(world.cluster_for("shop.test", asked), Some(&*format!("shop/{cluster}:80")), "{asked}");
    }
}

#[test]
fn rules_with_the_same_host_are_merged() {
    let world = served(json!({"rules": [
        {"hosts": ["shop.test", "a.test"], "http": {"paths": [path("/", "hello")]}},
        {"hosts": ["shop.test"], "http": {"paths": [path("/other", "other")]}}]}));
    assert_eq!(world.cluster_for("shop.test", "/other"), Some("shop/other:80"));
    assert_eq!(world.cluster_for("shop.test", "/"), Some("shop/hello:80"));
    assert_eq!(world.cluster_for("a.test", "/other"), Some("shop/hello:80"));
}

#[test]
fn headers_are_matched_exactly_or_by_presence() {
    let conditions = json!({"Knative-Serving-Tag": {"exact": "v1"}, "X-Beta": {"exact": ""}});
    let world = served(paths(json!([{"headers": conditions, "splits": [split("hello", 100)]}])));
    let route = only_route(&world);
    let matches: Vec<_> = route.headers.iter().map(|header| (&*header.name, header.exact.as_deref())).collect();
    assert_eq!(matches, [("knative-serving-tag", Some("v1")), ("x-beta", None)]);
}

#[test]
fn splits_keep_their_weights_and_a_lone_one_without_gets_all() {
    let world = served(paths(json!([{"splits": [split("hello", 99), split("other", 1), split("hello", 0)]}])));
    let weights: Vec<_> = only_route(&world).action.splits.iter().map(|split| split.weight).collect();
    assert_eq!(weights, [99, 1, 0]);
    let world = served(paths(json!([{"splits": [split("hello", 0)]}])));
    assert_eq!(only_route(&world).action.splits[0].weight, 100);
}

#[test]
fn headers_are_set_on_split_and_path() {
    let mut split = split("hello", 100);
    split["appendHeaders"] = json!({"Knative-Serving-Revision": "hello-1", "X": "split"});
    let world =
        served(paths(json!([{"splits": [split], "appendHeaders": {"X": "path"}, "rewriteHost": "in.test:80"}])));
    let action = only_route(&world).action;
    assert_eq!(headers(&action.splits[0].set_headers), [("knative-serving-revision", "hello-1"), ("x", "split")]);
    assert_eq!(headers(&action.set_headers), [("x", "path")]);
    assert_eq!(action.rewrite_host.as_deref(), Some("in.test:80"));
}

#[test]
fn only_external_hosts_are_redirected() {
    let mut spec = json!({"rules": [rule(&["a.test"], "", "hello"), rule(&["b.test"], "ClusterLocal", "hello")]});
    assert!(served(spec.clone()).hosts.values().all(|host| !host.redirect_to_https));
    spec["httpOption"] = "Redirected".into();
    let world = served(spec.clone());
    assert!(world.hosts["a.test"].redirect_to_https);
    assert!(!world.hosts["b.test"].redirect_to_https);
    let mut world = World::with(Options { https_redirects: false, ..Options::default() });
    world.apply([plain_service("hello"), kingress("hello", spec)]);
    assert!(!world.hosts["a.test"].redirect_to_https && world.faults().is_empty());
}

#[test]
fn a_server_name_is_offered_where_its_host_is() {
    let mut world = served(json!({
        "rules": [rule(&["a.test"], "", "hello"), rule(&["b.test"], "ClusterLocal", "hello")]}));
    world.apply([secret("cert", "1"), secret("knative-serving/wild", "1")]);
    world.apply([kingress(
        "hello",
        json!({
        "rules": [rule(&["a.test"], "", "hello"), rule(&["b.test"], "ClusterLocal", "hello")],
        "tls": [{"hosts": ["A.test", "b.test"], "secretName": "cert"},
                {"hosts": ["*.test"], "secretName": "wild", "secretNamespace": "knative-serving"}]}),
    )]);
    assert_eq!(world.faults(), [""; 0]);
    let of = |name: &str| (world.bindings[name].secret.to_string(), world.bindings[name].visibility);
    assert_eq!(of("a.test"), ("shop/cert".into(), Visibility::External));
    assert_eq!(of("b.test"), ("shop/cert".into(), Visibility::ClusterLocal));
    assert_eq!(of("*.test"), ("knative-serving/wild".into(), Visibility::External));
}

#[test]
fn the_annotations_keep_http2_from_the_upstream() {
    for (name, value, forced) in [
        ("kourier.knative.dev/disable-http2", "TRUE", true),
        ("postern.dev/disable-http2", "true", true),
        ("postern.dev/disable-http2", "yes", false),
    ] {
        let mut world = World::new();
        let spec = paths(json!([path("", "hello")]));
        world.apply([kingress_with("hello", &json!({"annotations": {name: value}}), spec)]);
        assert_eq!(only_route(&world).action.force_http1, forced, "{name}: {value}");
    }
}

#[test]
fn a_port_is_named_or_numbered() {
    let split = |port: Value| json!([{"splits": [{"serviceName": "hello", "servicePort": port, "percent": 100}]}]);
    for (port, cluster) in
        [(json!(80), "shop/hello:80"), (json!("http"), "shop/hello:http"), (json!("80"), "shop/hello:80")]
    {
        let world = served(paths(split(port)));
        assert_eq!(world.cluster_for("shop.test", "/"), Some(cluster));
        assert!(world.clusters.contains_key(cluster));
    }
}

#[test]
fn the_hash_counts_the_defaults() {
    let given = served(paths(json!([{"splits": [split("hello", 0)]}])));
    let mut explicit = paths(json!([{"splits": [split("hello", 100)]}]));
    explicit["rules"][0]["visibility"] = "ExternalIP".into();
    let explicit = served(explicit);
    assert_eq!(given.hosts["shop.test"].routes, explicit.hosts["shop.test"].routes);
    let other = served(paths(json!([{"splits": [split("other", 100)]}])));
    assert_ne!(given.routes["shop.test"].probe_hash, other.routes["shop.test"].probe_hash);
    assert!(given.routes["shop.test"].probe_hash.is_some());
}

#[test]
fn another_class_is_left_alone_and_a_class_taken_away_ends_it() {
    let mut world = World::new();
    let class = |class: &str| json!({"annotations": {"networking.knative.dev/ingress.class": class}});
    let spec = paths(json!([path("", "hello")]));
    world.apply([
        plain_service("hello"),
        kingress_with("hello", &class("kourier.ingress.networking.knative.dev"), spec.clone()),
    ]);
    assert!(world.hosts.is_empty() && world.faults().is_empty());
    world.apply([kingress("hello", spec.clone())]);
    assert_eq!(world.host_names(), ["shop.test"]);
    world.apply([kingress_with("hello", &class(""), spec)]);
    assert!(world.hosts.is_empty() && world.clusters.is_empty());
}

#[test]
fn the_class_can_be_kouriers() {
    let kourier = "kourier.ingress.networking.knative.dev";
    let mut world = World::with(Options { kingress_class: kourier.into(), ..Options::default() });
    let class = json!({"annotations": {"networking.knative.dev/ingress.class": kourier}});
    world.apply([plain_service("hello"), kingress_with("hello", &class, paths(json!([path("", "hello")])))]);
    assert_eq!(world.host_names(), ["shop.test"]);
}

#[test]
fn a_path_covers_what_starts_with_it() {
    let prefix = PathMatch::StringPrefix("/foo".into());
    assert!(prefix.covers("/foobar") && prefix.covers("/foo") && !prefix.covers("/fo"));
}
