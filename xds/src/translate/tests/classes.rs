//! Which Ingresses are ours.

use super::*;

const OURS: &str = "postern.dev/ingress-controller";

fn of_class(name: &str, class: Option<&str>, annotation: Option<&str>) -> Object {
    let spec = json!({"rules": [ingress_rule(&format!("{name}.test"), &[("Prefix", "/")])], "ingressClassName": class});
    let more = annotation.map_or(json!({}), |class| json!({"annotations": {"kubernetes.io/ingress.class": class}}));
    ingress_with(name, &more, spec)
}

fn world(report_unknown_class: bool) -> World {
    let mut world = World::with(Options { report_unknown_class, ..Options::default() });
    world.apply([plain_service("s0")]);
    world
}

#[test]
fn our_class_needs_no_ingress_class_unless_it_is_somebody_elses() {
    let mut world = world(true);
    world.apply([of_class("a", Some("postern"), None), of_class("b", None, Some("postern"))]);
    assert_eq!(world.host_names(), ["a.test", "b.test"]);
    for _ in 0..2 {
        world.apply([class("postern", "example.com/other", false)]);
        assert!(world.hosts.is_empty() && world.clusters.is_empty());
        world.delete(ObjectKind::IngressClass, "/postern");
        assert_eq!(world.host_names(), ["a.test", "b.test"]);
    }
}

#[test]
fn another_class_name_is_taken_over_from_its_controller() {
    let mut world = World::with(Options { ingress_class: "nginx".into(), ..Options::default() });
    world.apply([plain_service("s0"), class("nginx", "k8s.io/ingress-nginx", true), class("other", "other", false)]);
    world.apply([of_class("a", Some("nginx"), None), of_class("b", None, Some("nginx")), of_class("c", None, None)]);
    world.apply([of_class("d", Some("other"), None), of_class("e", Some("postern"), None)]);
    assert_eq!(world.host_names(), ["a.test", "b.test", "c.test"], "the default class is taken over with its name");
    world.delete(ObjectKind::IngressClass, "/nginx");
    assert_eq!(world.host_names(), ["a.test", "b.test"]);
}

#[test]
fn the_annotation_goes_before_the_field() {
    let mut world = world(false);
    world.apply([of_class("a", Some("postern"), Some("nginx")), of_class("b", Some("nginx"), Some("postern"))]);
    assert_eq!(world.host_names(), ["b.test"]);
}

#[test]
fn a_class_that_appears_brings_in_those_that_wait_for_it() {
    let mut world = world(true);
    world.apply([of_class("a", Some("front"), None)]);
    for _ in 0..2 {
        assert!(world.hosts.is_empty());
        assert!(world.fault().contains("Ingress shop/a: spec.ingressClassName: nobody serves class \"front\""));
        world.apply([class("front", OURS, false)]);
        assert_eq!(world.host_names(), ["a.test"]);
        assert_eq!(world.faults(), [""; 0]);
        world.apply([class("front", "example.com/other", false)]);
        assert!(world.hosts.is_empty() && world.faults().is_empty(), "somebody else's is none of our business");
        world.delete(ObjectKind::IngressClass, "/front");
    }
}

#[test]
fn an_ingress_without_a_class_has_the_default_one() {
    let mut world = world(true);
    world.apply([of_class("a", None, None)]);
    for _ in 0..2 {
        assert!(world.hosts.is_empty());
        assert!(world.fault().contains("no class is named and no IngressClass is the default one"));
        world.apply([class("front", OURS, true)]);
        assert_eq!(world.host_names(), ["a.test"]);
        assert_eq!(world.faults(), [""; 0]);
        world.apply([class("front", OURS, false)]);
    }
}

#[test]
fn faults_of_a_foreign_ingress_are_not_told_until_it_is_ours() {
    let mut world = world(true);
    world.apply([class("nginx", "example.com/other", false)]);
    let bad = json!({"ingressClassName": "nginx", "rules": [ingress_rule("bad host", &[("Prefix", "/")])]});
    world.apply([ingress("bad", bad)]);
    assert_eq!(world.faults(), [""; 0]);
    world.apply([class("nginx", OURS, false)]);
    assert!(world.fault().contains("not a DNS name"));
    world.delete(ObjectKind::Ingress, "bad");
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn an_unknown_class_is_a_fault_only_where_asked_for() {
    let mut quiet = world(false);
    quiet.apply([of_class("a", Some("front"), None)]);
    assert_eq!(quiet.faults(), [""; 0]);
    let mut loud = world(true);
    let class = json!({"annotations": {"networking.knative.dev/ingress.class": "istio"}});
    loud.apply([kingress_with("k", &class, json!({"rules": [rule(&["k.test"], "", "s0")]}))]);
    assert!(
        loud.fault().contains("left alone: the class is \"istio\", ours is \"postern.ingress.networking.knative.dev\"")
    );
}
