//! Conditions that are stuck: what an object's status says of itself is not believed; traffic follows the endpoints.
//!
//! Knative's Revisions stay `Ready=False` after their containers were OOM-killed once, though their pods serve again.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::cluster::{Cluster, KnativeService, Options as ClusterOptions};
use postern_tests::gateway::Options;
use serde_json::{Value, json};

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, World};

/// What a Revision says of itself after an OOM, and everything that is made of it.
fn stuck(status: &str) -> Value {
    let of = |kind: &str| json!({"type": kind, "status": status, "reason": "ContainerMissing", "message": "OOMKilled"});
    json!(["Ready", "ResourcesAvailable", "ContainerHealthy", "NetworkConfigured", "LoadBalancerReady"].map(of))
}

/// An object that says this of itself.
fn with_conditions(mut object: Value, status: &str) -> Value {
    object["status"]["conditions"] = stuck(status);
    object
}

#[tokio::test]
async fn conditions_stuck_at_false_take_no_endpoint_away() -> Result<()> {
    let backend = Backend::http1("pod").await?;
    let service = KnativeService::new(NAMESPACE, "cart").endpoint(backend.address());
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let certificate = cluster.ca().issue(&[&service.external_host()])?;
    let objects = service.objects_with(&certificate);
    cluster.apply_many(objects.iter().cloned().map(|object| with_conditions(object, "False")))?;
    let world = World::of(cluster, &Options::default()).await?;
    let call = Call::get(&format!("https://{}/", service.external_host()));
    let load = Load::start(&world, [(call, Habit::KeepAlive)]);
    load.goes_on(3).await?;
    for status in ["True", "Unknown", "False"] {
        world.cluster.apply_many(objects.iter().cloned().map(|object| with_conditions(object, status)))?;
        load.goes_on(3).await?;
    }
    load.end().await.map(drop)
}

#[tokio::test]
async fn conditions_stuck_at_true_make_no_endpoint_ready() -> Result<()> {
    let (ready, other) = (Backend::http1("ready").await?, Backend::http1("other").await?);
    let service = KnativeService::new(NAMESPACE, "cart").endpoint(ready.address()).endpoint(other.address());
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut slice = service.endpoint_slice();
    slice["endpoints"][1]["conditions"]["ready"] = false.into();
    let mut objects = service.objects(cluster.ca())?;
    objects.push(slice);
    cluster.apply_many(objects.into_iter().map(|object| with_conditions(object, "True")))?;
    let world = World::of(cluster, &Options::default()).await?;
    let call = Call::get(&format!("http://{}/", service.external_host()));
    for _ in 0..20 {
        assert_eq!(world.send(&call).await?.header("x-backend"), Some("ready"));
    }
    assert_eq!(other.connections(), 0);
    Ok(())
}
