//! Watches, as kube's watcher follows them.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{PartialObjectMeta, WatchEvent, WatchParams};
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client};
use postern_tests::cluster::{Kind, Options, Shape, Verb};
use serde_json::json;

use crate::client::{config_map, config_maps, next, start, start_with, until};

/// Config maps as metadata only.
fn metadata(client: &Client) -> Api<PartialObjectMeta<ConfigMap>> {
    Api::namespaced(client.clone(), "default")
}

#[tokio::test]
async fn a_watcher_lists_and_then_follows() {
    let (cluster, client) = start().await;
    cluster.apply_many([config_map("a", "1"), config_map("b", "1")]).unwrap();
    let mut events = pin!(watcher(config_maps(&client), Config::default()));
    assert_eq!(until(&mut events, "done").await, ["init", "+a", "+b", "done"]);
    cluster.apply(config_map("b", "2")).unwrap();
    assert_eq!(next(&mut events).await, "~b");
    cluster.delete(Kind::ConfigMap, "default", "a");
    assert_eq!(next(&mut events).await, "-a");
    assert_eq!(cluster.requests().count(Verb::List, Kind::ConfigMap), 1);
}

#[tokio::test]
async fn a_watcher_that_streams_its_list_needs_no_list() {
    let (cluster, client) = start().await;
    cluster.apply_many([config_map("a", "1"), config_map("b", "1")]).unwrap();
    let mut events = pin!(watcher(config_maps(&client), Config::default().streaming_lists()));
    assert_eq!(until(&mut events, "done").await, ["init", "+a", "+b", "done"]);
    cluster.apply(config_map("c", "1")).unwrap();
    assert_eq!(next(&mut events).await, "~c");
    assert_eq!(cluster.requests().count(Verb::List, Kind::ConfigMap), 0);
    assert_eq!(cluster.requests().count(Verb::Watch, Kind::ConfigMap), 1);
}

#[tokio::test]
async fn a_server_without_watch_list_refuses_to_stream_a_list() {
    let (_cluster, client) = start_with(Options { watch_list: false, ..Options::default() }).await;
    let mut events = pin!(watcher(config_maps(&client), Config::default().streaming_lists()));
    assert_eq!(next(&mut events).await, "start 422");
}

#[tokio::test]
async fn a_metadata_watcher_gets_metadata_in_lists_and_watches() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    let mut events = pin!(watcher(metadata(&client), Config::default()));
    assert_eq!(until(&mut events, "done").await, ["init", "+a", "done"]);
    cluster.apply(config_map("a", "2")).unwrap();
    assert_eq!(next(&mut events).await, "~a");
    for verb in [Verb::List, Verb::Watch] {
        assert_eq!(cluster.requests().count_shape(verb, Kind::ConfigMap, Shape::Full), 0);
        assert_eq!(cluster.requests().count_shape(verb, Kind::ConfigMap, Shape::Metadata), 1);
    }
}

#[tokio::test]
async fn a_metadata_watcher_can_stream_its_list() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    let mut events = pin!(watcher(metadata(&client), Config::default().streaming_lists()));
    assert_eq!(until(&mut events, "done").await, ["init", "+a", "done"]);
}

#[tokio::test]
async fn a_watch_ends_at_its_time_and_goes_on_from_its_bookmark() {
    let (cluster, client) = start().await;
    let mut events = pin!(watcher(config_maps(&client), Config::default().timeout(1)));
    until(&mut events, "done").await;
    cluster.apply_many((0..3).map(|number| config_map(&format!("m{number}"), "1"))).unwrap();
    until(&mut events, "~m2").await;
    // Another kind's changes move the version on; only a bookmark tells the watcher so.
    cluster.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})).unwrap();
    let second = async {
        while cluster.requests().count(Verb::Watch, Kind::ConfigMap) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.apply(config_map("late", "1")).unwrap();
    };
    let (seen, ()) = tokio::join!(next(&mut events), second);
    assert_eq!(seen, "~late");
    let asked: Vec<_> = cluster.requests().recent().into_iter().filter(|request| request.verb == Verb::Watch).collect();
    assert_ne!(asked[0].query.text("resourceVersion"), asked[1].query.text("resourceVersion"));
    assert_eq!(cluster.requests().count(Verb::List, Kind::ConfigMap), 1);
}

#[tokio::test]
async fn bookmarks_come_at_their_interval() {
    let options = Options { bookmark_interval: Duration::from_millis(20), ..Options::default() };
    let (cluster, client) = start_with(options).await;
    let object = cluster.apply(config_map("a", "1")).unwrap();
    let version = object.revision.to_string();
    let mut events = config_maps(&client).watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = events.next().await else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.resource_version, version);
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_is_gone() {
    let (cluster, client) = start().await;
    let old = cluster.apply(config_map("a", "1")).unwrap().revision.to_string();
    cluster.apply(config_map("a", "2")).unwrap();
    cluster.compact();
    let mut events = config_maps(&client).watch(&WatchParams::default(), &old).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Error(status))) = events.next().await else { panic!("no error") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn a_watch_that_falls_behind_the_history_is_gone() {
    let (cluster, client) = start_with(Options { history: 10, ..Options::default() }).await;
    let old = cluster.apply(config_map("a", "1")).unwrap().revision.to_string();
    cluster.apply_many((0..20).map(|number| config_map("a", &number.to_string()))).unwrap();
    let mut events = config_maps(&client).watch(&WatchParams::default(), &old).await.unwrap().boxed();
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Error(_)))));
}

#[tokio::test]
async fn an_object_that_ceases_to_match_a_selector_is_deleted_for_its_watchers() {
    let (cluster, client) = start().await;
    let labelled = |value: &str, app: &str| {
        let mut object = config_map("a", value);
        object["metadata"]["labels"] = json!({"app": app});
        object
    };
    let mut events = pin!(watcher(config_maps(&client), Config::default().labels("app=postern")));
    until(&mut events, "done").await;
    cluster.apply(labelled("1", "other")).unwrap();
    cluster.apply(labelled("1", "postern")).unwrap();
    assert_eq!(next(&mut events).await, "~a");
    cluster.apply(labelled("2", "other")).unwrap();
    assert_eq!(next(&mut events).await, "-a");
}

#[tokio::test]
async fn a_watch_from_a_version_that_is_not_reached_is_silent_until_it_is() {
    let options = Options { bookmark_interval: Duration::from_millis(20), ..Options::default() };
    let (cluster, client) = start_with(options).await;
    let backup = cluster.backup();
    let later = cluster.apply(config_map("a", "1")).unwrap().revision;
    cluster.restore(&backup);
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    let mut events = pin!(api.watch(&WatchParams::default(), &later.to_string()).await.unwrap());
    cluster.apply(config_map("b", "1")).unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(500), events.next()).await;
    assert!(silent.is_ok_and(|event| matches!(event, Some(Ok(WatchEvent::Bookmark(_))))), "the version is reached");
    cluster.restore(&backup);
    let silent = tokio::time::timeout(Duration::from_millis(500), events.next()).await;
    assert!(silent.is_err(), "neither event nor bookmark: {silent:?}");
}
