//! What Ingress v1 means (reference: kubernetes.io/docs/concepts/services-networking/ingress).

use super::*;
use crate::resource::{Visibility, WildcardDepth};

fn served(spec: Value) -> World {
    let mut world = World::new();
    world.apply(["s0", "s1", "s2", "s3", "default"].map(plain_service));
    world.apply([ingress("shop", spec)]);
    assert_eq!(world.faults(), [""; 0]);
    world
}

/// Paths of a rule by type; a request's path; the place of the path that gets it.
type Case = (&'static [(&'static str, &'static str)], &'static str, Option<usize>);

/// "Examples" of the documentation, line by line, and "Multiple matches".
const DOCUMENTED: &[Case] = &[
    (&[("Prefix", "/")], "/any/path", Some(0)),
    (&[("Exact", "/foo")], "/foo", Some(0)),
    (&[("Exact", "/foo")], "/bar", None),
    (&[("Exact", "/foo")], "/foo/", None),
    (&[("Exact", "/foo/")], "/foo", None),
    (&[("Prefix", "/foo")], "/foo", Some(0)),
    (&[("Prefix", "/foo")], "/foo/", Some(0)),
    (&[("Prefix", "/foo/")], "/foo", Some(0)),
    (&[("Prefix", "/foo/")], "/foo/", Some(0)),
    (&[("Prefix", "/aaa/bb")], "/aaa/bbb", None),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb", Some(0)),
    (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/ccc", Some(0)),
    (&[("Prefix", "/aaa/bbb")], "/aaa/bbbxyz", None),
    (&[("Prefix", "/"), ("Prefix", "/aaa")], "/aaa/ccc", Some(1)),
    (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/aaa/bbb", Some(2)),
    (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/ccc", Some(0)),
    (&[("Prefix", "/aaa")], "/ccc", None),
    (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo", Some(1)),
    (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo/bar", Some(0)),
    (&[("Exact", "/foo"), ("Prefix", "/foo/bar")], "/foo/bar", Some(1)),
    (&[("ImplementationSpecific", "/foo")], "/foo/bar", Some(0)),
    (&[("ImplementationSpecific", "/foo")], "/foobar", None),
    (&[("Prefix", "/Foo")], "/foo", None),
];

#[test]
fn paths_match_as_kubernetes_documents() {
    for (paths, asked, expected) in DOCUMENTED {
        let world = served(json!({"rules": [ingress_rule("shop.test", paths)]}));
        let expected = expected.map(|place| format!("shop/s{place}:80"));
        assert_eq!(world.cluster_for("shop.test", asked), expected.as_deref(), "{paths:?} {asked}");
    }
}

#[test]
fn several_ingresses_of_a_host_match_as_one_would() {
    for (paths, asked, expected) in DOCUMENTED {
        let mut world = World::new();
        world.apply((0..paths.len()).map(|n| plain_service(&format!("s{n}"))));
        for (n, (kind, path)) in paths.iter().enumerate() {
            let paths = json!([{"path": path, "pathType": kind, "backend": backend(&format!("s{n}"))}]);
            world.apply([ingress(
                &format!("i{n}"),
                json!({"rules": [{"host": "shop.test", "http": {"paths": paths}}]}),
            )]);
        }
        let expected = expected.map(|place| format!("shop/s{place}:80"));
        assert_eq!(world.cluster_for("shop.test", asked), expected.as_deref(), "{paths:?} {asked}");
    }
}

#[test]
fn hosts_are_external_and_a_wildcard_is_one_label() {
    let world = served(json!({"rules": [ingress_rule("*.Shop.test", &[("Prefix", "/")])]}));
    let host = &world.hosts["*.shop.test"];
    assert_eq!((host.visibility, host.wildcard_depth), (Visibility::External, WildcardDepth::One));
}

#[test]
fn a_rule_without_a_host_is_for_every_host() {
    let world = served(
        json!({"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend("s0")}]}}]}),
    );
    assert_eq!(world.host_names(), ["*"]);
}

#[test]
fn the_default_backend_gets_what_nothing_matches() {
    let world = served(
        json!({"defaultBackend": backend("default"), "rules": [ingress_rule("shop.test", &[("Prefix", "/a")])]}),
    );
    assert_eq!(world.cluster_for("shop.test", "/a/b"), Some("shop/s0:80"));
    assert_eq!(world.cluster_for("shop.test", "/b"), Some("shop/default:80"));
    assert_eq!(world.cluster_for("*", "/b"), Some("shop/default:80"));
    let world = served(json!({"defaultBackend": backend("default")}));
    assert_eq!(world.cluster_for("*", "/"), Some("shop/default:80"));
}

#[test]
fn a_default_backend_yields_to_a_path_of_another_ingress() {
    let mut world = World::new();
    world.apply(["s0", "default"].map(plain_service));
    let default =
        json!({"defaultBackend": backend("default"), "rules": [ingress_rule("shop.test", &[("Exact", "/a")])]});
    world.apply([ingress_with("a", &made(1), default)]);
    world.apply([ingress_with("b", &made(2), json!({"rules": [ingress_rule("shop.test", &[("Prefix", "/")])]}))]);
    assert_eq!(world.cluster_for("shop.test", "/x"), Some("shop/s0:80"));
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn certificates_come_from_the_own_namespace_and_are_for_all_hosts_unless_said() {
    let rules = json!([ingress_rule("a.test", &[("Prefix", "/")]), ingress_rule("", &[("Prefix", "/")])]);
    let mut world = World::new();
    world.apply([plain_service("s0"), secret("cert", "1"), secret("other", "1")]);
    world.apply([ingress("shop", json!({"rules": rules, "tls": [{"secretName": "cert"}]}))]);
    assert_eq!(world.bindings.keys().collect::<Vec<_>>(), ["a.test"]);
    assert_eq!(world.bindings["a.test"].secret, reference("cert"));
    world.apply([ingress("shop", json!({"rules": rules, "tls": [{"hosts": ["*.b.test"], "secretName": "other"}]}))]);
    assert_eq!(world.bindings.keys().collect::<Vec<_>>(), ["*.b.test"]);
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn a_backend_port_is_named_or_numbered() {
    let backend = json!({"service": {"name": "s0", "port": {"name": "http"}}});
    let world = served(json!({"defaultBackend": backend}));
    assert_eq!(world.cluster_for("*", "/"), Some("shop/s0:http"));
}

#[test]
fn hosts_with_equal_routes_share_them() {
    let rules = ["a.test", "b.test"].map(|host| ingress_rule(host, &[("Prefix", "/")]));
    let world = served(json!({"rules": rules}));
    assert_eq!(world.hosts["a.test"].routes.as_ptr(), world.hosts["b.test"].routes.as_ptr());
}

fn annotated(name: &str, annotations: Value) -> Object {
    let spec = json!({"rules": [ingress_rule("site.test", &[("Prefix", "/")])]});
    ingress_with(name, &json!({"annotations": annotations}), spec)
}

#[test]
fn an_ingress_that_wants_clients_to_be_authenticated_is_not_served_even_if_it_was() {
    let mut world = World::new();
    world.apply([plain_service("s0")]);
    let auth = json!({"nginx.ingress.kubernetes.io/auth-url": "https://auth.test"});
    for _ in 0..2 {
        world.apply([annotated("site", json!({}))]);
        assert_eq!((world.host_names(), world.faults()), (vec!["site.test"], vec![]));
        world.apply([annotated("site", auth.clone())]);
        assert!(world.hosts.is_empty() && world.clusters.is_empty());
        let expected = "Ingress shop/site: metadata.annotations[nginx.ingress.kubernetes.io/auth-url]: is not honoured: \
                        clients are not authenticated; this Ingress is not served while it has it";
        assert_eq!(world.fault(), expected);
    }
}

#[test]
fn an_annotation_that_changes_behaviour_is_a_warning_and_one_without_effect_is_none() {
    let mut world = World::new();
    world.apply([plain_service("s0")]);
    let annotations = json!({
        "nginx.ingress.kubernetes.io/rewrite-target": "/", "nginx.ingress.kubernetes.io/proxy-read-timeout": "60",
        "nginx.ingress.kubernetes.io/ssl-redirect": "false", "example.com/auth-url": "not ingress-nginx's",
    });
    world.apply([annotated("site", annotations)]);
    assert_eq!(world.host_names(), ["site.test"]);
    assert!(world.fault().contains("rewrite-target]: is not honoured: the path is forwarded"), "{}", world.fault());
}

#[test]
fn a_class_that_is_taken_over_loses_its_default_redirect_and_says_so() {
    let tls = json!([{"hosts": ["site.test"], "secretName": "cert"}]);
    let spec = |class: &str| json!({"ingressClassName": class, "tls": tls, "rules": [ingress_rule("site.test", &[("Prefix", "/")])]});
    for (class, is_warned) in [("nginx", true), ("postern", false)] {
        let mut world = World::with(Options { ingress_class: class.into(), ..Options::default() });
        world.apply([plain_service("s0"), secret("cert", "1"), ingress("site", spec(class))]);
        let faults = world.faults();
        assert_eq!(
            faults.iter().filter(|fault| fault.contains("redirects plain HTTP")).count(),
            usize::from(is_warned)
        );
    }
}
