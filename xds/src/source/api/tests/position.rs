//! Watches from positions that the server has not reached.

use super::*;
use crate::source::api::testing::Seen;

/// Long enough for a watch to be in doubt, and for its check.
const SILENCE: Duration = Duration::from_secs(80);

fn first_list() -> Reply {
    Reply::whole(list(&[service("a", 900), service("b", 901)], "901", None))
}

fn version(minor: &str) -> Reply {
    Reply::whole(format!(r#"{{"major":"1","minor":"{minor}"}}"#))
}

fn lists(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| !seen.is_check() && !seen.uri.contains("watch=true")).count()
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_from_a_version_that_is_not_reached_leads_to_a_new_list() {
    let api = ScriptedApi::default();
    api.script("list", "services", [first_list(), Reply::whole(list(&[service("a", 3)], "3", None))]);
    api.script("check", "services", [Reply::too_large_version()]);
    let mut world = World::new(&api);
    world.until(|world| world.services() == "a=v900 b=v901").await;
    let begun = Instant::now();
    world.until(|world| world.services() == "a=v3").await;
    assert!(begun.elapsed() <= SILENCE, "{:?}", begun.elapsed());
    world.settle().await;
    assert!(api.seen("services").last().unwrap().uri.ends_with("resourceVersion=3"), "it is followed from there");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_behind_is_asked_for_lists_less_and_less_often() {
    let api = ScriptedApi::default();
    api.script("list", "services", (0..300).map(|_| first_list()));
    api.script("watch", "services", (0..300).map(|_| Reply::watch(&[]).broken()));
    api.script("check", "services", (0..300).map(|_| Reply::too_large_version()));
    let world = World::new(&api);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let lists = lists(&api.seen("services"));
    assert!((20..60).contains(&lists), "{lists} lists in ten minutes");
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_is_checked_before_its_silence_is_believed() {
    for ends in [Reply::closed, Reply::broken] {
        let api = ScriptedApi::default();
        api.script("list", "services", [first_list(), Reply::whole(list(&[service("a", 3)], "3", None))]);
        api.script("watch", "services", [ends(Reply::watch(&[]))]);
        api.script("check", "services", [Reply::too_large_version()]);
        let mut world = World::new(&api);
        let begun = Instant::now();
        world.until(|world| world.services() == "a=v3").await;
        assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_from_a_version_that_is_reached_costs_small_requests_and_no_list() {
    let api = ScriptedApi::default();
    api.script("list", "services", [first_list()]);
    let mut world = World::new(&api);
    world.synced().await;
    assert!(world.is_quiet().await);
    let seen = api.seen("services");
    assert_eq!(lists(&seen), 1);
    let checks: Vec<_> = seen.iter().filter(|seen| seen.is_check()).collect();
    assert!((40..=50).contains(&checks.len()), "about one in 75 s: {} in an hour", checks.len());
    for check in checks {
        assert!(check.uri.contains("limit=1&") && check.uri.contains("resourceVersion=901"), "{}", check.uri);
        assert!(check.accept.contains("as=PartialObjectMetadataList"), "{}", check.accept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_with_bookmarks_and_an_agreed_end_is_not_checked() {
    let api = ScriptedApi::default();
    let ends = (1..20).map(|version| Reply::watch(&[bookmark(&version.to_string(), false)]).closed_in_time());
    api.script("watch", "services", ends);
    let mut world = World::with(&api, Options { watch_timeout: Duration::from_secs(60), ..paged() });
    world.synced().await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!api.seen("services").iter().any(Seen::is_check), "{:?}", api.seen("services"));
}

#[tokio::test(start_paused = true)]
async fn where_versions_compare_one_watcher_that_sees_the_server_go_back_has_all_list_again() {
    for (minor, relists) in [("35", true), ("34", false)] {
        let api = ScriptedApi::default();
        api.script("list", "services", [first_list(), Reply::whole(list(&[service("a", 3)], "3", None))]);
        api.script("watch", "services", [Reply::watch(&[]).broken()]);
        api.script("check", "services", [Reply::too_large_version()]);
        api.script("get", "version", [version(minor)]);
        let mut world = World::new(&api);
        world.until(|world| world.services() == "a=v3").await;
        world.settle().await;
        for resource in ["endpointslices", "secrets", "ingressclasses"] {
            assert_eq!(lists(&api.seen(resource)), 1 + usize::from(relists), "{resource} of 1.{minor}");
        }
        assert_eq!(lists(&api.seen("services")), 2, "it does not list again because of itself");
    }
}
