//! `ConfigMap`s of a cluster.

use postern_tests::cluster::{Kind, Verb};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::gateway::World;

#[tokio::test]
async fn maps_of_the_cluster_are_followed_and_nothing_else_is_read_again() -> Result<()> {
    // Writing status asks the API server for more, at its own times.
    let world = World::start_with("system:admin", |options| options.argument("--status=off")).await?;
    let map = |namespace: &str, name: &str, data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data});
    let lists = || {
        [Kind::Service, Kind::KIngress, Kind::Secret, Kind::EndpointSlice]
            .map(|kind| [Verb::List, Verb::Watch, Verb::Get].map(|verb| world.cluster.requests().count(verb, kind)))
    };
    let before = lists();
    let is = async |name: &str, value: &str| {
        eventually(&format!("{name} is {value}"), async || {
            let setting = world.gateway.setting(name).await?;
            ensure(setting["values"] == json!([value]), || setting.to_string())
        })
        .await
    };
    world.cluster.apply(map("knative-serving", "config-kourier", json!({"stream-idle-timeout": "30s"})))?;
    is("stream-idle-timeout", "30000ms").await?;
    world.cluster.apply(map("postern-system", "config-postern", json!({"stream-idle-timeout": "5s"})))?;
    is("stream-idle-timeout", "5s").await?;
    world.cluster.delete(Kind::ConfigMap, "postern-system", "config-postern");
    is("stream-idle-timeout", "30000ms").await?;
    world.cluster.apply(map("knative-serving", "config-kourier", json!({"stream-idle-timeout": "soon"})))?;
    world.until_logged(&["knative-serving/config-kourier", "data.stream-idle-timeout", "soon", "30000ms"]).await?;
    assert_eq!(lists(), before);
    world.assert_served().await
}
