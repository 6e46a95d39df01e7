use std::collections::BTreeMap;

use tokio::time::{Instant, timeout};

use super::testing::{Reply, ScriptedApi, bookmark, line, list, service};
use super::*;
use crate::object::{Object, ObjectKey};

mod failing;
mod permission;
mod position;
mod reading;

/// A source, and what it has said so far.
struct World {
    source: ApiSource,
    faults: Faults,
    /// Services and their state, `v` and the version.
    services: BTreeMap<String, String>,
    others: Vec<ObjectKey>,
    synced: bool,
}

impl World {
    fn new(api: &ScriptedApi) -> Self {
        Self::with(api, paged())
    }

    fn with(api: &ScriptedApi, options: Options) -> Self {
        let faults = Faults::default();
        Self::of(ApiSource::start(api.client(), options, faults.clone()), faults)
    }

    fn for_roster(api: &ScriptedApi, roster: Arc<SecretRoster>, options: Options) -> Self {
        let faults = Faults::default();
        Self::of(ApiSource::start_for(roster, api.client(), options, faults.clone()), faults)
    }

    fn of(source: ApiSource, faults: Faults) -> Self {
        Self { source, faults, services: BTreeMap::new(), others: Vec::new(), synced: false }
    }

    /// Takes what the source says until this is so.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let events = timeout(Duration::from_secs(3600), self.source.next()).await;
            for event in events.expect("the source says it within an hour") {
                self.take(event);
            }
        }
    }

    async fn synced(&mut self) {
        self.until(|world| world.synced).await;
    }

    /// True if the source says nothing for an hour.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_secs(3600), self.source.next()).await.is_err()
    }

    /// Lets requests that are due be made.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    fn services(&self) -> String {
        self.services.iter().map(|(name, state)| format!("{name}={state}")).collect::<Vec<_>>().join(" ")
    }

    fn faults(&self) -> Vec<String> {
        self.faults.all().iter().map(ToString::to_string).collect()
    }

    fn take(&mut self, event: ObjectEvent) {
        match event {
            ObjectEvent::Applied(Object::Service(service)) => {
                let state = service.spec.unwrap().external_name.unwrap();
                self.services.insert(service.metadata.name.unwrap(), state);
            }
            ObjectEvent::Deleted(key) if key.kind == ObjectKind::Service => {
                self.services.remove(&*key.object.name);
            }
            ObjectEvent::Applied(Object::Secret(secret)) => {
                self.others.push(ObjectKey { kind: ObjectKind::Secret, object: secret.object });
            }
            ObjectEvent::Applied(_) | ObjectEvent::Deleted(_) => {}
            ObjectEvent::Synced => self.synced = true,
        }
    }
}

fn paged() -> Options {
    Options { streamed_lists: false, ..Options::default() }
}

fn streamed() -> Options {
    Options::default()
}

#[tokio::test(start_paused = true)]
async fn a_list_in_pages_is_followed_by_a_watch_from_its_version() {
    let api = ScriptedApi::default();
    api.script(
        "list",
        "services",
        [
            Reply::whole(list(&[service("a", 1), service("b", 2)], "7", Some("more"))),
            Reply::whole(list(&[service("c", 3)], "7", None)),
        ],
    );
    api.script(
        "watch",
        "services",
        [Reply::watch(&[
            line("MODIFIED", &service("a", 8)),
            line("ADDED", &service("d", 9)),
            line("DELETED", &service("b", 10)),
        ])],
    );
    let mut world = World::new(&api);
    world.synced().await;
    world.until(|world| world.services() == "a=v8 c=v3 d=v9").await;
    let seen: Vec<_> = api.seen("services").into_iter().map(|seen| seen.uri).collect();
    assert!(seen[0].contains("limit=500") && !seen[0].contains("continue"), "{}", seen[0]);
    assert!(seen[1].contains("continue=more"), "{}", seen[1]);
    assert!(seen[2].contains("watch=true") && seen[2].contains("resourceVersion=7"), "{}", seen[2]);
    assert!(seen[2].contains("allowWatchBookmarks=true") && seen[2].contains("timeoutSeconds="), "{}", seen[2]);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_ends_at_its_bookmark_and_goes_on_as_a_watch() {
    let api = ScriptedApi::default();
    let end = || Reply::watch(&[bookmark("1", true)]);
    for resource in ["kingresses", "ingresses", "ingressclasses", "endpointslices", "secrets"] {
        api.script("watch", resource, [end()]);
    }
    api.script(
        "watch",
        "services",
        [Reply::watch(&[
            line("ADDED", &service("a", 1)),
            bookmark("5", false),
            line("ADDED", &service("b", 2)),
            bookmark("7", true),
            line("MODIFIED", &service("b", 8)),
        ])],
    );
    let mut world = World::with(&api, streamed());
    world.until(|world| world.synced && world.services() == "a=v1 b=v8").await;
    let first = &api.seen("services")[0].uri;
    assert!(first.contains("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), "{first}");
    assert!(first.ends_with("resourceVersion="), "the newest state is asked for: {first}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_stream_lists_is_asked_for_pages() {
    for refusal in [Reply::refuse(422), Reply::refuse(400), Reply::watch(&[line("ADDED", &service("a", 1))])] {
        let api = ScriptedApi::default();
        api.script("watch", "services", [refusal]);
        api.script("list", "services", [Reply::whole(list(&[service("a", 2)], "7", None))]);
        let mut world = World::with(&api, streamed());
        world.synced().await;
        assert_eq!(world.services(), "a=v2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_continues_where_it_was_without_a_list() {
    let api = ScriptedApi::default();
    api.script("list", "services", [Reply::whole(list(&[service("a", 1)], "7", None))]);
    api.script(
        "watch",
        "services",
        [
            Reply::watch(&[line("MODIFIED", &service("a", 8)), bookmark("11", false)]).closed(),
            Reply::watch(&[line("MODIFIED", &service("a", 12))]).broken(),
            Reply::watch(&[line("MODIFIED", &service("a", 13)), "{\"type\":\"MODI".to_owned()]).closed(),
            Reply::watch(&[line("MODIFIED", &service("a", 14))]),
        ],
    );
    let mut world = World::new(&api);
    world.until(|world| world.services() == "a=v14").await;
    let versions: Vec<_> = api.followed("services").iter().map(|seen| last(&seen.uri)).collect();
    assert_eq!(versions, ["limit=500", "7", "11", "12", "13"]);
}

fn last(uri: &str) -> String {
    let part = uri.rsplit(['&', '?']).next().unwrap();
    part.strip_prefix("resourceVersion=").unwrap_or(part).to_owned()
}

#[tokio::test(start_paused = true)]
async fn changes_that_pile_up_are_coalesced_and_the_last_state_wins() {
    let api = ScriptedApi::default();
    let lines: Vec<_> = (10..50_010).map(|version| line("MODIFIED", &service("a", version))).collect();
    api.script("watch", "services", [Reply::watch(&lines)]);
    let mut world = World::new(&api);
    world.synced().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.source.shared.queue.backlog().objects, 1);
    world.until(|world| world.services() == "a=v50009").await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_come_makes_the_watches_wait_and_loses_nothing() {
    let api = ScriptedApi::default();
    let items: Vec<_> = (0..10_000).map(|number| service(&format!("s{number}"), number)).collect();
    api.script("list", "services", [Reply::whole(list(&items, "7", None))]);
    let mut world = World::with(&api, Options { queued_objects: 100, ..paged() });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.source.shared.queue.backlog().objects, 100);
    world.synced().await;
    assert_eq!(world.services.len(), 10_000);
}
