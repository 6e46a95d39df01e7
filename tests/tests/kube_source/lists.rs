//! What exists when the source begins, or begins again.

use postern_tests::cluster::{Cluster, Fault, Kind, Options, Rule, Silence, Verb};
use serde_json::json;
use xds::ObjectRef;

use crate::world::{World, fill, options, service};

#[tokio::test]
async fn a_list_is_complete_whether_it_is_streamed_or_paged() {
    for watch_list in [true, false] {
        let cluster = Cluster::start(Options { watch_list, ..Options::default() }).await.unwrap();
        fill(&cluster, 1_200);
        let mut world = World::follow(cluster, options());
        world.synced().await;
        assert_eq!(world.services(), 1_200);
        let lists = world.cluster.requests().count(Verb::List, Kind::Service);
        assert_eq!(lists, if watch_list { 0 } else { 3 });
        world.cluster.apply(service("s7", "second")).unwrap();
        world.sees("s7", "second").await;
    }
}

#[tokio::test]
async fn every_kind_that_is_read_arrives_and_no_other_config_map_does() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let metadata = |name: &str| json!({"namespace": "shop", "name": name});
    let port = json!({"name": "http", "port": 80});
    cluster
        .apply_many([
            json!({"apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "Ingress",
                "metadata": metadata("web"), "spec": {"rules": [{"hosts": ["web.test"]}]}}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("web"), "spec": {}}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "postern"},
                "spec": {"controller": "postern.dev/ingress-controller"}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata("web-1"),
                "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [port]}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("cert"), "type": "kubernetes.io/tls"}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("password"), "type": "Opaque"}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("config-postern")}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("other")}),
            service("web", "here"),
        ])
        .unwrap();
    let mut options = options();
    options.config_maps = vec![ObjectRef::new("shop", "config-postern"), ObjectRef::new("shop", "config-absent")];
    let mut world = World::follow(cluster, options);
    world.synced().await;
    let known: Vec<_> = world.objects.keys().map(String::as_str).collect();
    let expected = [
        "ConfigMap shop/config-postern",
        "EndpointSlice shop/web-1",
        "Ingress shop/web",
        "IngressClass postern",
        "KIngress shop/web",
        "Secret shop/cert",
        "Service shop/web",
    ];
    assert_eq!(known, expected);
}

#[tokio::test]
async fn what_was_deleted_while_the_server_was_away_is_deleted_by_the_next_list() {
    let mut world = World::start(20).await;
    world.synced().await;
    world.cluster.silence(Silence::Refusing);
    for name in ["s3", "s4"] {
        world.cluster.delete(Kind::Service, "shop", name);
    }
    world.cluster.apply(service("s5", "second")).unwrap();
    world.cluster.compact();
    world.cluster.silence(Silence::Answering);
    world.until("two are gone", |world| world.services() == 18).await;
    world.sees("s5", "second").await;
    assert_eq!((world.service("s3"), world.service("s4"), world.deletions), (None, None, 2));
}

#[tokio::test]
async fn a_list_whose_pages_expire_begins_again_and_is_complete() {
    let cluster = Cluster::start(Options { watch_list: false, ..Options::default() }).await.unwrap();
    fill(&cluster, 1_200);
    cluster.faults().add(Rule::on(Verb::List, Kind::Service, Fault::Gone).continued().times(1));
    let mut world = World::follow(cluster, options());
    world.synced().await;
    assert_eq!((world.services(), world.deletions), (1_200, 0));
}

#[tokio::test]
async fn fifty_thousand_changes_that_nobody_takes_wait_as_few_and_the_last_state_wins() {
    let mut world = World::start(100).await;
    world.synced().await;
    let before = world.events;
    for round in 0..500 {
        let state = format!("v{round}");
        world.cluster.apply_many((0..100).map(|number| service(&format!("s{number}"), &state))).unwrap();
        tokio::task::yield_now().await;
    }
    let last = |world: &World| (0..100).all(|number| world.service(&format!("s{number}")) == Some("v499"));
    world.until("every Service is in its last state", last).await;
    let told = world.events - before;
    assert!(told < 25_000, "{told} of 50,000 changes were told one by one");
}
