//! Kinds that may not be read, or that are not there.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_is_reported_with_its_rule_and_the_rest_is_served() {
    let api = ScriptedApi::default();
    api.script("list", "endpointslices", [403; 6].map(Reply::refuse));
    api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
    let mut world = World::new(&api);
    world.synced().await;
    assert_eq!(world.services(), "a=v1");
    let faults = world.faults();
    assert!(
        faults[0].starts_with("kubernetes:/apis/discovery.k8s.io/v1/endpointslices: may not be read"),
        "{faults:?}"
    );
    assert!(faults[0].contains(r#"resources: ["endpointslices"], verbs: ["list", "watch"] in a ClusterRole"#));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.faults().is_empty(), "it may be read by now");
    assert_eq!(api.followed("endpointslices").len(), 8, "it was tried more and more slowly");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_denies_for_a_moment_is_soon_asked_again_and_nothing_is_said() {
    let api = ScriptedApi::default();
    api.script("list", "services", [403; 4].map(Reply::refuse));
    api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
    let mut world = World::new(&api);
    let begun = tokio::time::Instant::now();
    world.synced().await;
    assert_eq!(world.services(), "a=v1", "complete is what has been read");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(world.faults().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_knative_is_complete_without_it_and_gets_it_later() {
    let api = ScriptedApi::default();
    let kingress = r#"{"metadata":{"namespace":"shop","name":"web","resourceVersion":"1"},"spec":{"rules":"wrong"}}"#;
    api.script("list", "kingresses", [Reply::refuse(404), Reply::whole(list(&[kingress.to_owned()], "7", None))]);
    let mut world = World::new(&api);
    world.synced().await;
    assert!(world.faults().is_empty());
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(world.faults()[0].starts_with("KIngress shop/web: spec.rules: "), "{:?}", world.faults());
}

#[tokio::test(start_paused = true)]
async fn each_namespace_is_followed_by_itself_and_one_that_is_forbidden_spoils_no_other() {
    let api = ScriptedApi::default();
    let shop = service("a", 1);
    api.script("list", "services", [Reply::whole(list(&[shop], "7", None))]);
    api.script("list", "services", [403; 5].map(Reply::refuse));
    let scope = Scope::Namespaces(vec!["shop".into(), "news".into()]);
    let config_maps = vec![ObjectRef::new("postern", "config-postern")];
    let mut world = World::with(&api, Options { scope, config_maps, ..paged() });
    world.synced().await;
    assert_eq!(world.services(), "a=v1");
    assert_eq!(world.faults().len(), 1);
    let uris: Vec<_> = api.seen("/").into_iter().map(|seen| seen.uri).collect();
    let outside = |uri: &&String| !uri.contains("/namespaces/shop/") && !uri.contains("/namespaces/news/");
    let outside: Vec<_> = uris.iter().filter(outside).map(|uri| uri.split('?').next().unwrap()).collect();
    assert!(outside.iter().all(|path| path.contains("ingressclasses") || path.contains("/postern/configmaps")));
    assert!(uris.iter().any(|uri| uri.contains("fieldSelector=metadata.name%3Dconfig-postern")), "{uris:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_reported_keeps_its_last_state_and_spoils_no_other() {
    let api = ScriptedApi::default();
    let broken = r#"{"metadata":{"namespace":"shop","name":"a","resourceVersion":"8"},"spec":{"ports":7}}"#;
    api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
    api.script(
        "watch",
        "services",
        [
            Reply::watch(&[line("MODIFIED", broken), line("ADDED", &service("b", 9))]).closed(),
            Reply::refuse(410),
            Reply::watch(&[line("MODIFIED", &service("a", 12))]),
        ],
    );
    api.script("list", "services", [Reply::whole(list(&[broken.to_owned(), service("b", 9)], "11", None))]);
    let mut world = World::with(&api, Options { first_retry: Duration::from_secs(60), ..paged() });
    world.until(|world| world.services() == "a=v1 b=v9").await;
    assert!(world.faults()[0].starts_with("Service shop/a: spec.ports: "), "{:?}", world.faults());
    world.until(|world| world.services() == "a=v12 b=v9").await;
    assert!(world.faults().is_empty());
}
