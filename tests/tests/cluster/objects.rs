//! Objects, one by one.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use postern_tests::cluster::{Cluster, Kind, Options, Shape, Verb};
use postern_tests::manifests::{KIngress, PathRule, Rule};
use serde_json::json;

use crate::client::{code, config_map, config_maps, dynamic, start};

fn kingress(name: &str) -> serde_json::Value {
    KIngress::new("default", name).rule(Rule::external(&["shop.test"]).path(PathRule::to("shop"))).object()
}

/// A JSON patch, for which the client has no type without another dependency.
async fn json_patch(client: &Client, url: &str, name: &str, patch: &serde_json::Value) {
    let request = http::Request::patch(format!("{url}/{name}")).header("content-type", "application/json-patch+json");
    let _patched: serde_json::Value = client.request(request.body(patch.to_string().into()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_kubeconfig_leads_to_the_api_over_tls() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig().unwrap()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().minor, "34");
    assert_eq!(client.list_core_api_versions().await.unwrap().versions, ["v1"]);
}

#[tokio::test]
async fn an_object_is_created_read_replaced_and_deleted() {
    let (_cluster, client) = start().await;
    let api = config_maps(&client);
    let made =
        api.create(&PostParams::default(), &serde_json::from_value(config_map("a", "1")).unwrap()).await.unwrap();
    assert!(made.uid().is_some() && made.resource_version().is_some() && made.creation_timestamp().is_some());
    assert_eq!(api.get("a").await.unwrap().data, made.data);
    let mut changed = made.clone();
    changed.data = Some([("key".to_owned(), "2".to_owned())].into());
    let replaced = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(replaced.resource_version(), made.resource_version());
    assert_eq!(replaced.uid(), made.uid());
    let gone = api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(gone.is_right());
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn refusals_are_those_of_a_real_api_server() {
    let (_cluster, client) = start().await;
    let api = config_maps(&client);
    let object: ConfigMap = serde_json::from_value(config_map("a", "1")).unwrap();
    let made = api.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(code(api.create(&PostParams::default(), &object).await), 409);
    assert_eq!(code(api.get("b").await), 404);
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "2"}}))).await.unwrap();
    assert_eq!(code(api.replace("a", &PostParams::default(), &made).await), 409);
    let nowhere: Api<ConfigMap> = Api::namespaced(client, "nowhere");
    let elsewhere =
        ConfigMap { metadata: ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() }, ..object };
    assert_eq!(code(nowhere.create(&PostParams::default(), &elsewhere).await), 404);
}

#[tokio::test]
async fn an_object_that_is_written_as_it_was_keeps_its_version() {
    let (_cluster, client) = start().await;
    let api = config_maps(&client);
    let made =
        api.create(&PostParams::default(), &serde_json::from_value(config_map("a", "1")).unwrap()).await.unwrap();
    let again = api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "1"}}))).await.unwrap();
    assert_eq!(again.resource_version(), made.resource_version());
}

#[tokio::test]
async fn a_status_is_written_apart_from_the_specification() {
    let (cluster, client) = start().await;
    cluster.apply(kingress("shop")).unwrap();
    let api = dynamic(&client, Kind::KIngress, "default");
    let patch = json!({"spec": {"rules": []}, "status": {"observedGeneration": 1}});
    let patched = api.patch_status("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.data["status"]["observedGeneration"], 1);
    assert_eq!(patched.data["spec"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(patched.metadata.generation, Some(1));
    let patched = api.patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.data["spec"]["rules"], json!([]));
    assert_eq!(patched.metadata.generation, Some(2));
}

#[tokio::test]
async fn a_conflicting_status_write_is_refused() {
    let (cluster, client) = start().await;
    cluster.apply(kingress("shop")).unwrap();
    let api = dynamic(&client, Kind::KIngress, "default");
    let old = api.get("shop").await.unwrap();
    cluster.apply(kingress("shop")).unwrap();
    let touch = json!({"metadata": {"annotations": {"a": "b"}}});
    api.patch("shop", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
    let stale = json!({"metadata": {"resourceVersion": old.resource_version()}, "status": {"observedGeneration": 1}});
    assert_eq!(code(api.patch_status("shop", &PatchParams::default(), &Patch::Merge(&stale)).await), 409);
}

#[tokio::test]
async fn a_finalizer_holds_a_deleted_object_until_it_is_taken_off() {
    let (cluster, client) = start().await;
    cluster.apply(kingress("shop")).unwrap();
    let api = dynamic(&client, Kind::KIngress, "default");
    let hold = json!({"metadata": {"finalizers": ["ingresses.networking.internal.knative.dev"]}});
    api.patch("shop", &PatchParams::default(), &Patch::Merge(&hold)).await.unwrap();
    assert!(api.delete("shop", &DeleteParams::default()).await.unwrap().is_left());
    assert!(api.get("shop").await.unwrap().metadata.deletion_timestamp.is_some());
    let release = json!([{"op": "remove", "path": "/metadata/finalizers/0"}]);
    json_patch(&client, api.resource_url(), "shop", &release).await;
    assert!(api.get_opt("shop").await.unwrap().is_none());
}

#[tokio::test]
async fn a_deletion_of_another_object_of_the_same_name_is_refused() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    let other = kube::api::Preconditions { uid: Some("another".to_owned()), resource_version: None };
    let options = DeleteParams { preconditions: Some(other), ..DeleteParams::default() };
    assert_eq!(code(config_maps(&client).delete("a", &options).await), 409);
    assert!(cluster.get(Kind::ConfigMap, "default", "a").is_some());
}

#[tokio::test]
async fn an_applied_field_goes_when_it_is_no_longer_applied() {
    let (_cluster, client) = start().await;
    let api = config_maps(&client);
    let manager = PatchParams::apply("postern");
    let with = |data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    api.patch("a", &manager, &Patch::Apply(with(json!({"x": "1", "y": "2"})))).await.unwrap();
    let applied = api.patch("a", &manager, &Patch::Apply(with(json!({"x": "1"})))).await.unwrap();
    assert_eq!(applied.data.unwrap().into_iter().collect::<Vec<_>>(), [("x".to_owned(), "1".to_owned())]);
    let other = PatchParams::apply("other");
    assert_eq!(code(api.patch("a", &other, &Patch::Apply(with(json!({"x": "3"})))).await), 409);
}

#[tokio::test]
async fn a_lease_changes_hands_only_by_a_write_over_its_latest_version() {
    let (_cluster, client) = start().await;
    let api: Api<Lease> = Api::namespaced(client, "kourier-system");
    let lease = json!({"metadata": {"name": "postern"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}});
    let made = api.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let mut mine = made.clone();
    mine.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    api.replace("postern", &PostParams::default(), &mine).await.unwrap();
    let mut theirs = made.clone();
    theirs.spec.as_mut().unwrap().holder_identity = Some("c".to_owned());
    assert_eq!(code(api.replace("postern", &PostParams::default(), &theirs).await), 409);
    theirs.metadata.resource_version = None;
    assert_eq!(code(api.replace("postern", &PostParams::default(), &theirs).await), 422);
}

#[tokio::test]
async fn an_event_gets_a_name_of_its_own() {
    let (_cluster, client) = start().await;
    let api: Api<Event> = Api::default_namespaced(client);
    let event =
        json!({"metadata": {"generateName": "shop."}, "involvedObject": {"name": "shop"}, "reason": "Rejected"});
    let made = api.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    assert_eq!(made.name_any().len(), "shop.".len() + 5);
}

#[tokio::test]
async fn a_pod_on_a_node_is_there_until_its_grace_period_is_ended() {
    let (cluster, client) = start().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": []}});
    cluster.apply(pod).unwrap();
    let api: Api<Pod> = Api::default_namespaced(client);
    assert!(api.delete("p", &DeleteParams::default()).await.unwrap().is_left());
    assert!(api.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    api.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (cluster, client) = start().await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    config_maps(&client).create(&dry, &serde_json::from_value(config_map("a", "1")).unwrap()).await.unwrap();
    assert!(cluster.get(Kind::ConfigMap, "default", "a").is_none());
}

#[tokio::test]
async fn metadata_is_sent_without_the_rest() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    let metadata = config_maps(&client).get_metadata("a").await.unwrap();
    assert_eq!(metadata.name_any(), "a");
    assert_eq!(metadata.types.unwrap().kind, "PartialObjectMetadata");
    assert_eq!(cluster.requests().count_shape(Verb::Get, Kind::ConfigMap, Shape::Metadata), 1);
    assert_eq!(cluster.requests().count_shape(Verb::Get, Kind::ConfigMap, Shape::Full), 0);
}
