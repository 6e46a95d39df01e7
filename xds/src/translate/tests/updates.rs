//! What is in an Update, and what is not.

use super::*;

/// A service as Knative makes it: three cluster-local hosts, an external one with its own certificate.
fn knative_service(n: usize, revision: usize) -> [Object; 4] {
    let (name, svc) = (format!("hello-{n:04}"), format!("hello-{n:04}-{revision:05}"));
    let local = [format!("{name}.shop"), format!("{name}.shop.svc"), format!("{name}.shop.svc.cluster.local")];
    let external = format!("{name}.shop.example.com");
    let rules = json!([
        rule(&local.each_ref().map(String::as_str), "ClusterLocal", &svc),
        rule(&[&external], "ExternalIP", &svc),
    ]);
    let tls = json!([{"hosts": [external], "secretName": format!("{name}-cert"), "secretNamespace": "shop"}]);
    [
        kingress(&name, json!({"rules": rules, "tls": tls})),
        plain_service(&svc),
        pods(&format!("{svc}-x7x2p"), &svc, 8012, &["10.0.0.1"]),
        secret(&format!("{name}-cert"), "1"),
    ]
}

#[test]
fn editing_one_of_a_thousand_yields_an_update_about_that_one_alone() {
    let mut world = World::new();
    let first = world.apply((0..1_000).flat_map(|n| knative_service(n, 1)));
    assert_eq!(first.virtual_hosts.len(), 4_000);
    assert_eq!((first.clusters.len(), first.endpoints.len(), first.tls_bindings.len()), (1_000, 1_000, 1_000));
    assert_eq!(world.faults(), [""; 0]);

    let edit = world.apply(knative_service(7, 2));
    let hosts: Vec<_> = edit.virtual_hosts.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(
        hosts,
        ["hello-0007.shop", "hello-0007.shop.example.com", "hello-0007.shop.svc", "hello-0007.shop.svc.cluster.local"]
    );
    let clusters: Vec<_> = edit.clusters.iter().map(|(name, now)| (name.as_str(), now.is_some())).collect();
    assert_eq!(clusters, [("shop/hello-0007-00001:80", false), ("shop/hello-0007-00002:80", true)]);
    assert_eq!(edit.endpoints.len(), 2);
    assert_eq!(edit.tls_bindings.len() + edit.secrets.len(), 0);
}

#[test]
fn hosts_of_both_visibilities_share_their_routes() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    let routes = &world.hosts["hello-0001.shop"].routes;
    assert!(world.hosts.values().all(|host| host.routes.as_ptr() == routes.as_ptr()));
}

#[test]
fn the_routes_told_are_those_on_record() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    let record = world.translator.state.objects.get(0).unwrap();
    assert_eq!(world.hosts["hello-0001.shop"].routes.as_ptr(), record.routes[0].as_ptr());
}

#[test]
fn what_is_said_again_is_no_update() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    let again = world.apply(knative_service(1, 1));
    assert!(again.is_empty());
    assert_eq!(again.version, 0, "no Update at all");
}

#[test]
fn what_goes_back_and_forth_between_two_flushes_is_no_update() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    world
        .translator
        .accept(ObjectEvent::Deleted(ObjectKey { kind: ObjectKind::KIngress, object: reference("hello-0001") }));
    world
        .translator
        .accept(ObjectEvent::Deleted(ObjectKey { kind: ObjectKind::Secret, object: reference("hello-0001-cert") }));
    assert!(world.apply(knative_service(1, 1)).is_empty());
}

#[test]
fn what_is_deleted_leaves_nothing_behind() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    world.delete(ObjectKind::Secret, "hello-0001-cert");
    world.delete(ObjectKind::Service, "hello-0001-00001");
    world.delete(ObjectKind::EndpointSlice, "hello-0001-00001-x7x2p");
    world.delete(ObjectKind::KIngress, "hello-0001");
    assert!(world.hosts.is_empty() && world.bindings.is_empty() && world.secrets.is_empty());
    assert!(world.clusters.is_empty() && world.endpoints.is_empty());
    assert_eq!(world.faults(), [""; 0]);
    let blank = Translator::new(Options::default(), Faults::default());
    let sizes = |of: &Translator| of.state.sizes();
    assert_eq!(sizes(&world.translator), sizes(&blank));
}

#[test]
fn an_endpoint_change_touches_nothing_but_the_endpoints() {
    let mut world = World::new();
    world.apply(knative_service(1, 1));
    let update = world.apply([pods("hello-0001-00001-x7x2p", "hello-0001-00001", 8012, &["10.0.0.2"])]);
    assert_eq!((update.len(), update.endpoints.len()), (1, 1));
}

#[test]
fn equal_lists_of_addresses_are_one() {
    let mut world = World::new();
    let both = ["a", "b"].map(|name| kingress(name, json!({"rules": [rule(&[&format!("{name}.test")], "", name)]})));
    world.apply(both);
    world.apply([plain_service("a"), plain_service("b")]);
    world.apply([pods("a-1", "a", 8012, &["10.1.0.1", "10.1.0.2"]), pods("b-1", "b", 8012, &["10.1.0.2", "10.1.0.1"])]);
    assert!(Arc::ptr_eq(&world.endpoints["shop/a:80"].addresses, &world.endpoints["shop/b:80"].addresses));
}

#[test]
fn a_cluster_lasts_while_a_route_refers_to_it() {
    let mut world = World::new();
    world.apply([plain_service("hello"), one_host("a", 1, "a.test"), one_host("b", 2, "b.test")]);
    assert!(world.delete(ObjectKind::KIngress, "a").clusters.is_empty());
    let last = world.delete(ObjectKind::KIngress, "b");
    assert_eq!((last.clusters.len(), last.endpoints.len()), (1, 1));
    assert!(world.clusters.is_empty());
}

#[test]
fn the_first_complete_snapshot_is_told_even_if_nothing_differs() {
    let mut translator = Translator::new(Options::default(), Faults::default());
    assert_eq!(translator.flush(), None);
    translator.accept(ObjectEvent::Synced);
    let update = translator.flush().unwrap();
    assert!(update.complete && update.is_empty());
    assert_eq!(translator.flush(), None);
}

#[test]
fn a_secret_is_told_when_its_version_changes() {
    let mut world = World::new();
    assert_eq!(world.apply([secret("cert", "1")]).secrets.len(), 1);
    assert!(world.apply([secret("cert", "1")]).is_empty());
    assert_eq!(world.apply([secret("cert", "2")]).secrets[0].1.as_ref().unwrap().0.as_ref(), "2");
    assert_eq!(world.delete(ObjectKind::Secret, "cert").secrets[0].1, None);
}
