//! How the API misbehaves, each way of it seen by the real client.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use postern_tests::cluster::{Distortion, Fault, Kind, Options, Rule, Silence, Verb};
use tokio::time::{Instant, timeout};

use crate::client::{code, config_map, config_maps, next, start, start_with, until};

const GET: Verb = Verb::Get;
const KIND: Kind = Kind::ConfigMap;

fn status(code: u16) -> Fault {
    Fault::Status { code, retry_after_seconds: None }
}

/// Long enough for an answer that comes, for a test of one that must not.
const MOMENT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_slow_server_answers_late() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    cluster.faults().add(Rule::on(GET, KIND, Fault::Delay { by: MOMENT }).times(1));
    let before = Instant::now();
    config_maps(&client).get("a").await.unwrap();
    assert!(before.elapsed() >= MOMENT);
}

#[tokio::test]
async fn a_request_is_refused_with_the_status_that_is_asked_for() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    for expected in [429, 500, 503] {
        let id = cluster.faults().add(Rule::on(GET, KIND, status(expected)));
        assert_eq!(code(config_maps(&client).get("a").await), expected);
        cluster.faults().remove(id);
        assert!(config_maps(&client).get("a").await.is_ok());
    }
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    let (cluster, client) = start().await;
    cluster.faults().add(Rule::on(GET, KIND, Fault::Status { code: 429, retry_after_seconds: Some(7) }));
    let request = http::Request::get("/api/v1/namespaces/default/configmaps/a").body(Vec::new().into()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "7"));
}

#[tokio::test]
async fn a_client_that_tries_again_gets_through_an_overload() {
    let (cluster, _) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    let mut config = kube::Config::new(cluster.url().parse().unwrap());
    config.auth_info.token = Some(cluster.token().into());
    let id = cluster.faults().add(Rule::on(GET, KIND, status(503)).times(2));
    config_maps(&Client::try_from(config).unwrap()).get("a").await.unwrap();
    assert_eq!((cluster.faults().struck(id), cluster.requests().count(GET, KIND)), (2, 3));
}

#[tokio::test]
async fn a_fault_is_for_the_object_it_names() {
    let (cluster, client) = start().await;
    cluster.apply_many([config_map("a", "1"), config_map("b", "1")]).unwrap();
    cluster.faults().add(Rule::on(GET, KIND, status(500)).namespace("default").name("a"));
    assert_eq!(code(config_maps(&client).get("a").await), 500);
    assert!(config_maps(&client).get("b").await.is_ok());
}

#[tokio::test]
async fn a_connection_is_reset_instead_of_an_answer() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    cluster.faults().add(Rule::on(GET, KIND, Fault::Reset).times(1));
    let error = config_maps(&client).get("a").await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    assert!(config_maps(&client).get("a").await.is_ok());
}

#[tokio::test]
async fn a_stalled_request_is_never_answered() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    cluster.faults().add(Rule::on(GET, KIND, Fault::Stall).times(1));
    assert!(timeout(MOMENT, config_maps(&client).get("a")).await.is_err());
    assert!(config_maps(&client).get("a").await.is_ok());
}

#[tokio::test]
async fn a_list_that_breaks_off_is_an_error_and_not_a_short_list() {
    let (cluster, client) = start().await;
    cluster.apply_many((0..50).map(|number| config_map(&format!("m{number}"), "1"))).unwrap();
    cluster.faults().add(Rule::on(Verb::List, KIND, Fault::ResetAfter { bytes: 2_000 }).times(1));
    assert!(config_maps(&client).list(&ListParams::default()).await.is_err());
    assert_eq!(config_maps(&client).list(&ListParams::default()).await.unwrap().items.len(), 50);
}

#[tokio::test]
async fn a_watch_that_is_dropped_anywhere_loses_nothing() {
    for reset in [false, true] {
        for events in 0..4 {
            let (cluster, client) = start().await;
            let drop = Fault::DropWatch { events: Some(events), after: None, reset };
            cluster.faults().add(Rule::on(Verb::Watch, KIND, drop).times(1));
            let mut watched = pin!(watcher(config_maps(&client), Config::default()));
            until(&mut watched, "done").await;
            cluster.apply_many((0..4).map(|number| config_map(&format!("m{number}"), "1"))).unwrap();
            let seen = until(&mut watched, "~m3").await;
            let seen: Vec<_> = seen.into_iter().filter(|event| event.starts_with('~')).collect();
            assert_eq!(seen, ["~m0", "~m1", "~m2", "~m3"], "reset: {reset}, after {events} events");
            assert_eq!(cluster.requests().count(Verb::List, KIND), 1);
        }
    }
}

#[tokio::test]
async fn a_watch_ends_early_after_a_time() {
    let (cluster, client) = start().await;
    let drop = Fault::DropWatch { events: None, after: Some(Duration::from_millis(20)), reset: true };
    cluster.faults().add(Rule::on(Verb::Watch, KIND, drop).times(1));
    let version = cluster.apply(config_map("a", "1")).unwrap().revision.to_string();
    let mut events = config_maps(&client).watch(&WatchParams::default(), &version).await.unwrap().boxed();
    assert!(!matches!(timeout(Duration::from_secs(10), events.next()).await.unwrap(), Some(Ok(_))));
}

#[tokio::test]
async fn a_watch_whose_version_is_gone_lists_again() {
    let (cluster, client) = start().await;
    cluster.faults().add(Rule::on(Verb::Watch, KIND, Fault::Gone).times(1));
    let mut events = pin!(watcher(config_maps(&client), Config::default()));
    until(&mut events, "watch 410").await;
    cluster.apply(config_map("a", "1")).unwrap();
    assert_eq!(until(&mut events, "done").await, ["init", "+a", "done"]);
}

#[tokio::test]
async fn a_watch_can_end_in_an_error_event() {
    let (cluster, client) = start().await;
    cluster.faults().add(Rule::on(Verb::Watch, KIND, Fault::ErrorEvent { events: 1, code: 500 }).times(1));
    let mut events = pin!(watcher(config_maps(&client), Config::default()));
    until(&mut events, "done").await;
    cluster.apply_many([config_map("a", "1"), config_map("b", "1")]).unwrap();
    assert_eq!(until(&mut events, "watch 500").await, ["~a", "watch 500"]);
}

#[tokio::test]
async fn an_expired_continue_token_starts_the_list_again() {
    let (cluster, client) = start().await;
    cluster.apply_many((0..5).map(|number| config_map(&format!("m{number}"), "1"))).unwrap();
    cluster.faults().add(Rule::on(Verb::List, KIND, Fault::Gone).continued().times(1));
    let mut events = pin!(watcher(config_maps(&client), Config::default().page_size(2)));
    until(&mut events, "list 410").await;
    let listed = until(&mut events, "done").await.into_iter().filter(|event| event.starts_with('+')).count();
    assert_eq!(listed, 5);
}

/// What a watch shows of these changes when its events are distorted.
async fn distorted(how: Distortion, changes: &[(&str, &str)]) -> Vec<String> {
    let (cluster, client) = start().await;
    cluster.faults().add(Rule::on(Verb::Watch, KIND, Fault::Distort { how }));
    let version = cluster.apply(config_map("first", "0")).unwrap().revision.to_string();
    for (name, value) in changes {
        cluster.apply(config_map(name, value)).unwrap();
    }
    let events = config_maps(&client).watch(&WatchParams::default().timeout(1), &version).await.unwrap();
    let value = |map: &k8s_openapi::api::core::v1::ConfigMap| map.data.as_ref().unwrap()["key"].clone();
    let shown = events.filter_map(async |event| match event.unwrap() {
        WatchEvent::Added(map) => Some(format!("+{}={}", map.name_any(), value(&map))),
        WatchEvent::Modified(map) => Some(format!("~{}={}", map.name_any(), value(&map))),
        _ => None,
    });
    shown.collect().await
}

#[tokio::test]
async fn events_can_be_repeated() {
    assert_eq!(distorted(Distortion::Repeat(2), &[("a", "1")]).await, ["+a=1"; 3]);
}

#[tokio::test]
async fn events_can_be_stale_between_the_right_ones() {
    let shown = distorted(Distortion::Stale, &[("a", "1"), ("a", "2")]).await;
    assert_eq!(shown, ["+a=1", "~a=2", "~a=1", "~a=2"]);
}

#[tokio::test]
async fn events_of_different_objects_can_change_places() {
    let shown = distorted(Distortion::Reorder, &[("a", "1"), ("b", "1"), ("a", "2")]).await;
    assert_eq!(shown, ["+b=1", "+a=1", "~a=2"]);
}

#[tokio::test]
async fn a_wrong_clock_shows_in_dates_timestamps_and_leases() {
    let (cluster, client) = start().await;
    cluster.clock().set_skew_seconds(-3_600);
    let made = config_maps(&client)
        .create(&PostParams::default(), &serde_json::from_value(config_map("a", "1")).unwrap())
        .await
        .unwrap();
    let late = |time: jiff::Timestamp| jiff::Timestamp::now().duration_since(time).as_secs();
    assert!((3_590..3_700).contains(&late(made.creation_timestamp().unwrap().0)));
    cluster.hold_lease("kourier-system", "postern", "other", 15).unwrap();
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kourier-system");
    let renewed = leases.get("postern").await.unwrap().spec.unwrap().renew_time.unwrap();
    assert!((3_590..3_700).contains(&late(renewed.0)));
    let request = http::Request::get("/api/v1/configmaps").body(Vec::new().into()).unwrap();
    let date = client.send(request).await.unwrap().headers()["date"].to_str().unwrap().to_owned();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    assert!((3_590..3_700).contains(&late(date)));
}

#[tokio::test]
async fn a_stalled_server_answers_what_it_kept_waiting() {
    let (cluster, client) = start().await;
    let mut events = pin!(watcher(config_maps(&client), Config::default()));
    until(&mut events, "done").await;
    assert!(timeout(MOMENT, events.next()).await.is_err());
    cluster.silence(Silence::Stalled);
    cluster.apply(config_map("a", "1")).unwrap();
    assert!(timeout(MOMENT, events.next()).await.is_err());
    assert!(timeout(MOMENT, config_maps(&client).get("a")).await.is_err());
    cluster.silence(Silence::Answering);
    assert_eq!(next(&mut events).await, "~a");
}

#[tokio::test]
async fn after_hours_of_absence_a_watcher_goes_on() {
    let (cluster, client) = start_with(Options { speed: 72_000.0, ..Options::default() }).await;
    let mut events = pin!(watcher(config_maps(&client), Config::default()));
    until(&mut events, "done").await;
    assert!(timeout(MOMENT, events.next()).await.is_err());
    let before = cluster.clock().elapsed();
    let absent = async {
        let silent = cluster.silence_for(Silence::Refusing, Duration::from_secs(6 * 3_600));
        let meanwhile = async {
            tokio::task::yield_now().await;
            cluster.apply(config_map("a", "1")).unwrap();
        };
        tokio::join!(silent, meanwhile);
    };
    let (seen, ()) = tokio::join!(until(&mut events, "~a"), absent);
    assert!(cluster.clock().elapsed() >= before + Duration::from_secs(6 * 3_600));
    assert_eq!(seen.last().map(String::as_str), Some("~a"));
    assert_eq!(cluster.requests().count(Verb::List, KIND), 1);
}

#[tokio::test]
async fn a_refusing_server_closes_its_door() {
    let (cluster, client) = start().await;
    cluster.apply(config_map("a", "1")).unwrap();
    config_maps(&client).get("a").await.unwrap();
    cluster.silence(Silence::Refusing);
    let refused =
        async || postern_tests::ensure(config_maps(&client).get("a").await.is_err(), || "answered".to_owned());
    postern_tests::patience::eventually("a refusal", refused).await.unwrap();
    cluster.silence(Silence::Answering);
    let back = async || Ok(config_maps(&client).get("a").await.map(drop)?);
    postern_tests::patience::eventually("an answer", back).await.unwrap();
}
