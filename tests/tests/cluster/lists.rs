//! Lists and their pages.

use kube::api::{ListParams, VersionMatch};
use postern_tests::cluster::{Cluster, Kind};
use postern_tests::manifests::secret_of;
use serde_json::json;

use crate::client::{code, config_map, config_maps, start};

fn fill(cluster: &Cluster, count: usize) {
    cluster.apply_many((0..count).map(|number| config_map(&format!("m{number:03}"), "1"))).unwrap();
}

#[tokio::test]
async fn the_pages_of_a_list_are_of_one_moment() {
    let (cluster, client) = start().await;
    fill(&cluster, 25);
    let api = config_maps(&client);
    let first = api.list(&ListParams::default().limit(10)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (10, Some(15)));
    cluster.delete(Kind::ConfigMap, "default", "m012");
    cluster.apply(config_map("m0125", "new")).unwrap();
    let mut names: Vec<_> = first.items.into_iter().filter_map(|item| item.metadata.name).collect();
    let mut token = first.metadata.continue_;
    while let Some(at) = token {
        let page = api.list(&ListParams::default().limit(10).continue_token(&at)).await.unwrap();
        assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
        names.extend(page.items.into_iter().filter_map(|item| item.metadata.name));
        token = page.metadata.continue_;
    }
    assert_eq!(names, (0..25).map(|number| format!("m{number:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_expired_continue_token_is_gone_and_offers_another() {
    let (cluster, client) = start().await;
    fill(&cluster, 5);
    let api = config_maps(&client);
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    cluster.apply(config_map("m9", "1")).unwrap();
    cluster.expire_continue_tokens();
    let token = first.metadata.continue_.unwrap();
    let next = ListParams::default().limit(2).continue_token(&token);
    let Err(kube::Error::Api(status)) = api.list(&next).await else { panic!("not refused") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn a_list_at_an_exact_version_is_of_that_version_or_gone() {
    let (cluster, client) = start().await;
    fill(&cluster, 3);
    let api = config_maps(&client);
    let now = api.list(&ListParams::default().limit(1)).await.unwrap().metadata.resource_version.unwrap();
    cluster.apply(config_map("m9", "1")).unwrap();
    let exact = |version| ListParams::default().at(version).matching(VersionMatch::Exact);
    assert_eq!(api.list(&exact(&now)).await.unwrap().items.len(), 3);
    cluster.compact();
    assert_eq!(code(api.list(&exact(&now)).await), 410);
    let future = ListParams::default().at("99999999").matching(VersionMatch::NotOlderThan);
    assert_eq!(code(api.list(&future).await), 504);
}

#[tokio::test]
async fn selectors_pick_by_label_and_by_field() {
    let (cluster, client) = start().await;
    let mut labelled = config_map("labelled", "1");
    labelled["metadata"]["labels"] = json!({"app": "postern", "tier": "edge"});
    cluster.apply_many([labelled, config_map("plain", "1")]).unwrap();
    let api = config_maps(&client);
    for (labels, expected) in [("app=postern,tier in (edge, core)", 1), ("!app", 1), ("app notin (x)", 2), ("app", 1)] {
        let found = api.list(&ListParams::default().labels(labels)).await.unwrap();
        assert_eq!(found.items.len(), expected, "{labels}");
    }
    assert_eq!(api.list(&ListParams::default().fields("metadata.name=plain")).await.unwrap().items.len(), 1);
    assert_eq!(code(api.list(&ListParams::default().fields("spec.x=plain")).await), 400);
}

#[tokio::test]
async fn secrets_are_picked_by_their_type() {
    let (cluster, client) = start().await;
    let mut opaque = secret_of("default", "b", "", "");
    opaque["type"] = "Opaque".into();
    cluster.apply_many([secret_of("default", "a", "", ""), opaque]).unwrap();
    let api: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::all(client);
    let tls = ListParams::default().fields("type=kubernetes.io/tls");
    assert_eq!(api.list(&tls).await.unwrap().items.len(), 1);
    assert_eq!(api.list_metadata(&tls).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_long_list_arrives_whole() {
    let (cluster, client) = start().await;
    fill(&cluster, 3_000);
    assert_eq!(config_maps(&client).list(&ListParams::default()).await.unwrap().items.len(), 3_000);
}
