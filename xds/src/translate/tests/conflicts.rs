//! Hosts and server names that several objects want.

use super::*;

fn outcome(world: &World) -> (BTreeMap<String, VirtualHost>, BTreeMap<String, TlsBinding>, Vec<String>, usize) {
    (world.hosts.clone(), world.bindings.clone(), world.faults(), world.clusters.len())
}

fn tls(hosts: &[&str], secret: &str) -> Value {
    json!([{"hosts": hosts, "secretName": secret}])
}

/// A chain of objects each of which collides with the next, and some that stand apart.
fn contenders() -> Vec<Object> {
    let hosts = |hosts: &[&str], svc: &str| json!({"rules": [rule(hosts, "ExternalIP", svc)]});
    vec![
        kingress_with("a", &made(1), hosts(&["one.test"], "a")),
        kingress_with("b", &made(2), hosts(&["one.test", "two.test"], "b")),
        kingress_with("c", &made(3), hosts(&["two.test", "three.test"], "c")),
        kingress_with("d", &made(3), hosts(&["three.test"], "d")),
        ingress_with(
            "e",
            &made(4),
            json!({"rules": [ingress_rule("four.test", &[("Prefix", "/")])],
            "tls": tls(&["four.test", "one.test"], "e")}),
        ),
        kingress_with("f", &made(5), hosts(&["four.test", "five.test"], "f")),
        ingress_with(
            "g",
            &made(6),
            json!({"rules": [
            ingress_rule("three.test", &[("Prefix", "/")]), ingress_rule("four.test", &[("Prefix", "/"), ("Exact", "/g")])],
            "tls": tls(&["four.test"], "g")}),
        ),
        plain_service("a"),
        plain_service("c"),
    ]
}

#[test]
fn the_order_of_arrival_makes_no_difference() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut expected = World::new();
    expected.apply(contenders());
    assert_eq!(expected.cluster_for("two.test", "/"), Some("shop/c:80"), "b lost to a, so c has two.test");
    for _ in 0..300 {
        let mut objects = contenders();
        random.shuffle(&mut objects);
        let mut world = World::new();
        for object in objects {
            // Some arrive twice, some in one batch with the next.
            if random.u8(..4) == 0 {
                world.apply([object.clone()]);
            }
            world.translator.accept(ObjectEvent::Applied(object));
            if random.bool() {
                world.flush();
            }
        }
        world.flush();
        assert_eq!(outcome(&world), outcome(&expected));
    }
}

#[test]
fn whatever_came_and_went_the_outcome_is_that_of_what_is_there() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..200 {
        let mut world = World::new();
        let mut present = BTreeMap::new();
        for _ in 0..40 {
            let object = random.choice(contenders()).unwrap();
            let (kind, name) = name_of(&object);
            if random.bool() {
                present.insert((kind, name), object.clone());
                world.apply([object]);
            } else {
                present.remove(&(kind, name.clone()));
                world.delete(kind, &name);
            }
        }
        let mut fresh = World::new();
        fresh.apply(present.into_values());
        assert_eq!(outcome(&world), outcome(&fresh));
    }
}

fn name_of(object: &Object) -> (ObjectKind, String) {
    let metadata = match object {
        Object::KIngress(object) => &object.metadata,
        Object::Ingress(object) => &object.metadata,
        Object::Service(object) => &object.metadata,
        _ => unreachable!("no other kind contends"),
    };
    (object.kind(), metadata.name.clone().unwrap())
}

#[test]
fn the_older_kingress_has_the_host_and_the_younger_heals_when_it_goes() {
    let mut world = World::new();
    world.apply([plain_service("hello"), one_host("old", 1, "shop.test")]);
    world.apply([one_host("young", 2, "shop.test")]);
    assert!(world.fault().contains("KIngress shop/young: spec.rules: host \"shop.test\" belongs to KIngress shop/old"));
    for _ in 0..2 {
        world.delete(ObjectKind::KIngress, "old");
        assert_eq!(world.faults(), [""; 0]);
        assert_eq!(world.host_names(), ["shop.test"]);
        world.apply([one_host("old", 1, "shop.test")]);
        assert!(world.fault().contains("KIngress shop/young"));
    }
}

#[test]
fn the_loser_heals_when_the_winner_gives_the_host_up() {
    let mut world = World::new();
    world.apply([plain_service("hello"), one_host("old", 1, "shop.test"), one_host("young", 2, "shop.test")]);
    world.apply([one_host("old", 1, "other.test")]);
    assert_eq!(world.faults(), [""; 0]);
    assert_eq!(world.host_names(), ["other.test", "shop.test"]);
}

#[test]
fn among_equally_old_ones_the_name_decides_and_no_age_is_the_youngest() {
    let mut world = World::new();
    let ageless = kingress("a-ageless", json!({"rules": [rule(&["shop.test"], "ExternalIP", "hello")]}));
    world.apply([plain_service("hello"), ageless, one_host("b", 1, "shop.test"), one_host("c", 1, "shop.test")]);
    let faults = world.faults();
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|fault| fault.contains("belongs to KIngress shop/b,")), "{faults:#?}");
}

#[test]
fn a_loser_is_rejected_whole() {
    let mut world = World::new();
    let two = kingress_with(
        "young",
        &made(2),
        json!({"rules": [rule(&["a.test", "b.test"], "ExternalIP", "hello")],
        "tls": [{"hosts": ["b.test"], "secretName": "cert"}]}),
    );
    world.apply([plain_service("hello"), secret("cert", "1"), one_host("old", 1, "a.test"), two]);
    assert_eq!(world.host_names(), ["a.test"]);
    assert!(world.bindings.is_empty());
}

#[test]
fn ingresses_share_a_host() {
    let mut world = World::new();
    let of = |name: &str, second, path: &str| {
        let paths = json!([{"path": path, "pathType": "Prefix", "backend": backend(name)}]);
        ingress_with(name, &made(second), json!({"rules": [{"host": "shop.test", "http": {"paths": paths}}]}))
    };
    world.apply([plain_service("a"), plain_service("b"), of("a", 1, "/"), of("b", 2, "/b")]);
    assert_eq!(world.cluster_for("shop.test", "/b/c"), Some("shop/b:80"));
    assert_eq!(world.cluster_for("shop.test", "/c"), Some("shop/a:80"));
    assert_eq!(world.faults(), [""; 0]);
    world.apply([of("b", 2, "/")]);
    assert_eq!(world.cluster_for("shop.test", "/b/c"), Some("shop/a:80"));
    assert!(
        world
            .fault()
            .contains("Ingress shop/b: spec.rules: path \"/\" of host \"shop.test\" is served by Ingress shop/a")
    );
    world.delete(ObjectKind::Ingress, "a");
    assert_eq!(world.cluster_for("shop.test", "/b/c"), Some("shop/b:80"));
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn an_ingress_yields_only_the_host_that_an_older_kingress_has() {
    let mut world = World::new();
    let rules = ["a.test", "b.test"].map(|host| ingress_rule(host, &[("Prefix", "/")]));
    world.apply([plain_service("hello"), plain_service("s0"), one_host("old", 1, "a.test")]);
    world.apply([ingress_with("young", &made(2), json!({"rules": rules}))]);
    assert_eq!(world.cluster_for("a.test", "/"), Some("shop/hello:80"));
    assert_eq!(world.cluster_for("b.test", "/"), Some("shop/s0:80"));
    assert!(world.fault().contains("Ingress shop/young: spec.rules: host \"a.test\" belongs to KIngress shop/old"));
}

#[test]
fn the_oldest_binds_a_server_name() {
    let mut world = World::new();
    let of = |name: &str, second, path: &str| {
        let spec = json!({"rules": [ingress_rule("shop.test", &[("Exact", path)])], "tls": tls(&["shop.test"], name)});
        ingress_with(name, &made(second), spec)
    };
    world.apply([plain_service("s0"), secret("a", "1"), secret("b", "1"), of("b", 2, "/b"), of("a", 1, "/a")]);
    assert_eq!(world.bindings["shop.test"].secret, reference("a"));
    assert!(
        world
            .fault()
            .contains("Ingress shop/b: spec.tls: host \"shop.test\" is bound to Secret shop/a by Ingress shop/a")
    );
    world.delete(ObjectKind::Ingress, "a");
    assert_eq!(world.bindings["shop.test"].secret, reference("b"));
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn nobody_puts_a_certificate_before_that_of_anothers_host() {
    let mut world = World::new();
    let other = json!({"rules": [ingress_rule("evil.test", &[("Prefix", "/")])], "tls": tls(&["shop.test"], "evil")});
    let owner = json!({"rules": [rule(&["shop.test"], "ExternalIP", "s0")], "tls": tls(&["shop.test"], "cert")});
    world.apply([plain_service("s0"), secret("evil", "1"), secret("cert", "1")]);
    world.apply([ingress_with("evil", &made(1), other), kingress_with("owner", &made(2), owner)]);
    assert_eq!(world.bindings["shop.test"].secret, reference("cert"));
}
