//! Secrets: metadata by list and watch, data by one request each.

use postern_tests::cluster::request::Shape;
use postern_tests::cluster::{Cluster, Fault, Kind, Options, Rule, Verb};
use serde_json::{Value, json};
use xds::ObjectRef;
use xds::source::api::{ReaderOptions, SecretFetchError, SecretReader};

use crate::world::{World, client, options};

fn secret(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": name}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": "Q0hBSU4=", "tls.key": key},
    })
}

fn reader(cluster: &Cluster) -> SecretReader {
    SecretReader::new(client(cluster, &cluster.token()), ReaderOptions::default())
}

#[tokio::test]
async fn ten_thousand_secrets_are_known_without_the_data_of_one() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.apply_many((0..10_000).map(|number| secret(&format!("cert{number}"), "S0VZ"))).unwrap();
    let mut world = World::follow(cluster, options());
    world.synced().await;
    assert_eq!(world.objects.len(), 10_000);
    world.cluster.apply(secret("cert7", "TkVX")).unwrap();
    let version = world.cluster.get(Kind::Secret, "shop", "cert7").unwrap()["metadata"]["resourceVersion"].clone();
    let changed = |world: &World| world.objects.get("Secret shop/cert7").map(String::as_str) == version.as_str();
    world.until("the change is seen", changed).await;
    let asked = |verb| world.cluster.requests().count_shape(verb, Kind::Secret, Shape::Full);
    assert_eq!([Verb::List, Verb::Watch, Verb::Get].map(asked), [0, 0, 0]);

    let content = reader(&world.cluster).load(&ObjectRef::new("shop", "cert7")).await.unwrap();
    assert_eq!((content.private_key.as_bytes(), Some(&*content.version)), (&b"NEW"[..], version.as_str()));
    assert_eq!(world.cluster.requests().count(Verb::Get, Kind::Secret), 1);
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_and_one_without_the_secret_is_not() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.apply(secret("cert", "S0VZ")).unwrap();
    for fault in [Fault::Status { code: 503, retry_after_seconds: None }, Fault::Reset, Fault::ResetAfter { bytes: 20 }]
    {
        cluster.faults().add(Rule::on(Verb::Get, Kind::Secret, fault).times(1));
    }
    let reader = reader(&cluster);
    assert!(reader.load(&ObjectRef::new("shop", "cert")).await.is_ok());
    cluster.faults().clear();
    cluster.requests().reset();
    let absent = reader.load(&ObjectRef::new("shop", "absent")).await;
    assert!(matches!(absent, Err(SecretFetchError::NotFound { .. })), "{absent:?}");
    assert_eq!(cluster.requests().count(Verb::Get, Kind::Secret), 1);
}
