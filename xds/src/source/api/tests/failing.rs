//! A server that fails.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_new_list_lacks_is_deleted() {
    let gone = line("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired"}"#);
    for expired in [Reply::watch(&[gone]), Reply::refuse(410)] {
        let api = ScriptedApi::default();
        api.script(
            "list",
            "services",
            [
                Reply::whole(list(&[service("a", 1), service("b", 2)], "7", None)),
                Reply::whole(list(&[service("b", 9), service("c", 8)], "9", None)),
            ],
        );
        api.script("watch", "services", [expired]);
        let mut world = World::new(&api);
        world.synced().await;
        world.until(|world| world.services() == "b=v9 c=v8").await;
        world.settle().await;
        assert_eq!(last(&api.seen("services").last().unwrap().uri), "9");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_every_list_expire_is_asked_for_them_less_and_less_often() {
    let gone = || Reply::watch(&[line("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired"}"#)]);
    for expired in [gone, || Reply::refuse(410)] {
        let api = ScriptedApi::default();
        api.script("list", "services", (0..300).map(|_| Reply::whole(list(&[service("a", 1)], "7", None))));
        api.script("watch", "services", (0..100).map(|_| expired()));
        let world = World::new(&api);
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let lists = api.seen("services").iter().filter(|seen| !seen.uri.contains("watch=true")).count();
        assert!((20..60).contains(&lists), "{lists} lists in {:?}", begun.elapsed());
        // One that could be followed for a while and expired is asked for again soon.
        api.clear("watch", "services");
        tokio::time::sleep(Duration::from_secs(400)).await;
        api.script("watch", "services", [expired()]);
        let seen = api.followed("services").len();
        tokio::time::sleep(Duration::from_secs(300)).await;
        let after: Vec<_> = api.followed("services").split_off(seen);
        let relist = after.iter().position(|seen| !seen.uri.contains("watch=true")).expect("it is listed again");
        assert!(after[relist].at - after[relist - 1].at <= Duration::from_secs(1), "{after:?}");
        drop(world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_server_has_not_reached_is_given_up() {
    let api = ScriptedApi::default();
    api.script(
        "list",
        "services",
        [Reply::whole(list(&[service("a", 900)], "900", None)), Reply::whole(list(&[service("a", 3)], "3", None))],
    );
    api.script("watch", "services", [Reply::refuse(504)]);
    let mut world = World::new(&api);
    world.until(|world| world.services() == "a=v3").await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_its_pages_begins_again_and_deletes_nothing_meanwhile() {
    let api = ScriptedApi::default();
    api.script(
        "list",
        "services",
        [
            Reply::whole(list(&[service("a", 1)], "7", None)),
            Reply::whole(list(&[service("b", 2)], "9", Some("more"))),
            Reply::refuse(410),
            Reply::whole(list(&[service("a", 3), service("b", 2)], "11", None)),
        ],
    );
    api.script("watch", "services", [Reply::refuse(410)]);
    let mut world = World::new(&api);
    world.until(|world| world.services() == "a=v3 b=v2").await;
    world.settle().await;
    assert!(api.seen("services").last().unwrap().uri.ends_with("resourceVersion=11"));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_is_asked_for_again_alone() {
    let api = ScriptedApi::default();
    api.script(
        "list",
        "services",
        [
            Reply::whole(list(&[service("a", 1)], "7", Some("more"))),
            Reply::refuse(500),
            Reply::whole(list(&[service("b", 2)], "7", None)),
        ],
    );
    let mut world = World::new(&api);
    world.synced().await;
    assert_eq!(world.services(), "a=v1 b=v2");
    let continued = api.seen("services").iter().filter(|seen| seen.uri.contains("continue=more")).count();
    assert_eq!(continued, 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_is_given_it() {
    let api = ScriptedApi::default();
    api.script("list", "services", [Reply::refuse(429).retry_after(40)]);
    api.script("watch", "services", [Reply::refuse(429).retry_after(50)]);
    let mut world = World::new(&api);
    world.synced().await;
    assert!(world.is_quiet().await);
    let at: Vec<_> = api.seen("services").iter().map(|seen| seen.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(40) && at[3] - at[2] >= Duration::from_secs(50), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_hours_takes_nothing_away_and_is_not_stormed() {
    let api = ScriptedApi::default();
    api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
    api.script("watch", "services", (0..500).map(|_| Reply::refuse(503)));
    let mut world = World::new(&api);
    world.synced().await;
    let begun = Instant::now();
    for _ in 0..3 {
        assert!(world.is_quiet().await);
    }
    assert_eq!(world.services(), "a=v1");
    let asked = api.seen("services").iter().filter(|seen| seen.at > begun).count();
    assert!((300..800).contains(&asked), "about twice a minute: {asked} times in three hours");
}

#[tokio::test(start_paused = true)]
async fn watches_that_break_off_while_much_happens_are_begun_again_soon() {
    for how in [Reply::closed, Reply::broken] {
        let api = ScriptedApi::default();
        api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
        let change = |version| how(Reply::watch(&[line("MODIFIED", &service("a", version))]));
        api.script("watch", "services", (10..40).map(change));
        let mut world = World::new(&api);
        world.synced().await;
        let begun = Instant::now();
        world.until(|world| world.services() == "a=v39").await;
        assert!(begun.elapsed() <= Duration::from_secs(15), "thirty waits of half a second took {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_any_more_is_left() {
    let api = ScriptedApi::default();
    api.script(
        "watch",
        "services",
        [Reply::watch(&[]), Reply::hang(), Reply::watch(&[line("ADDED", &service("a", 9))])],
    );
    let mut world = World::new(&api);
    let begun = Instant::now();
    world.until(|world| world.services() == "a=v9").await;
    assert!(begun.elapsed() < Duration::from_secs(290 + 10 + 30 + 10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_not_accepted_are_reported_and_the_report_ends() {
    let api = ScriptedApi::default();
    api.script("list", "services", [Reply::refuse(401), Reply::whole(list(&[service("a", 1)], "7", None))]);
    let mut world = World::with(&api, Options { first_retry: Duration::from_secs(20), ..paged() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let faults = world.faults();
    assert!(faults.len() == 1 && faults[0].contains("does not accept the credentials (401)"), "{faults:?}");
    world.synced().await;
    assert!(world.faults().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_at_the_same_place_again_and_again_is_got_round_by_a_list() {
    let unreadable = || Reply::watch(&["{\"type\":7}".to_owned()]);
    for breaks in [|| Reply::watch(&[]).broken(), unreadable] {
        let api = ScriptedApi::default();
        let first = [service("a", 1)];
        api.script("list", "services", [Reply::whole(list(&first, "7", None)), Reply::whole(list(&[], "9", None))]);
        api.script("watch", "services", (0..3).map(|_| breaks()));
        let mut world = World::new(&api);
        world.until(|world| world.services() == "a=v1").await;
        world.until(|world| world.services().is_empty()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_that_breaks_again_and_again_is_replaced_by_pages() {
    let api = ScriptedApi::default();
    api.script("watch", "services", (0..3).map(|_| Reply::watch(&[line("ADDED", &service("a", 1))]).broken()));
    api.script("list", "services", [Reply::whole(list(&[service("b", 2)], "7", None))]);
    let mut world = World::with(&api, streamed());
    world.synced().await;
    assert_eq!(world.services(), "b=v2");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_panics_begins_anew_and_knows_what_is_gone() {
    let api = ScriptedApi::default();
    let lists = [list(&[service("a", 1), service("b", 2)], "7", None), list(&[service("b", 9)], "9", None)];
    api.script("list", "services", lists.map(Reply::whole));
    api.script("watch", "services", [Reply::watch(&[line("MODIFIED", &service("a", 8))]).panicking()]);
    let mut world = World::new(&api);
    world.until(|world| world.services() == "a=v8 b=v2").await;
    world.until(|world| world.services() == "b=v9").await;
    world.settle().await;
    assert!(api.seen("services").last().unwrap().uri.ends_with("resourceVersion=9"), "it is followed on");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_panics_again_and_again_waits_longer_and_longer() {
    let api = ScriptedApi::default();
    api.script("list", "services", (0..100).map(|_| Reply::whole("").panicking()));
    let world = World::new(&api);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = api.seen("services").len();
    assert!((20..60).contains(&asked), "{asked} times in ten minutes");
    drop(world);
}
