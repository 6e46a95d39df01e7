//! A server that goes back: its etcd was restored from an older copy.

use std::time::Duration;

use postern_tests::cluster::{Cluster, Kind, Options, Verb};
use xds::source::api;

use crate::world::{World, fill, options, service};

/// A cluster that has gone back, and a source that knows what is no longer so: `s1` has changed since the copy, `s2` is
/// gone, and `late` is new.
async fn gone_back(cluster: Options, options: api::Options) -> World {
    let cluster = Cluster::start(cluster).await.unwrap();
    fill(&cluster, 5);
    let backup = cluster.backup();
    let mut world = World::follow(cluster, options);
    world.synced().await;
    world.cluster.apply(service("late", "first")).unwrap();
    for round in 0..20 {
        world.cluster.apply(service("s1", &format!("r{round}"))).unwrap();
    }
    world.cluster.delete(Kind::Service, "shop", "s2");
    world.until("s2 is gone", |world| world.service("s2").is_none() && world.service("s1") == Some("r19")).await;
    world.cluster.restore(&backup);
    world.cluster.apply(service("restored", "first")).unwrap();
    world
}

/// Waits until the source shows what the cluster has, and follows it.
async fn recovers(world: &mut World) {
    world
        .until("what was restored is shown", |world| {
            let as_restored = world.service("s1") == Some("first") && world.service("s2") == Some("first");
            as_restored && world.service("restored").is_some() && world.service("late").is_none()
        })
        .await;
    world.cluster.apply(service("s3", "after")).unwrap();
    world.sees("s3", "after").await;
    assert!(world.faults.is_empty());
}

#[tokio::test]
async fn a_restart_on_an_older_copy_is_noticed_when_watches_are_begun_again() {
    for (minor, watch_list) in [(33, false), (34, true), (35, true)] {
        let mut world = gone_back(Options { minor, watch_list, ..Options::default() }, options()).await;
        world.cut().await;
        recovers(&mut world).await;
    }
}

#[tokio::test]
async fn a_watch_that_is_silent_for_longer_than_bookmarks_take_is_not_believed() {
    for (minor, watch_list) in [(33, false), (34, true), (35, true)] {
        let mut options = options();
        options.silence = Duration::from_millis(500);
        let mut world = gone_back(Options { minor, watch_list, ..Options::default() }, options).await;
        recovers(&mut world).await;
    }
}

#[tokio::test]
async fn bookmarks_keep_a_quiet_watch_from_being_asked_about() {
    let bookmarks = Options { bookmark_interval: Duration::from_millis(100), ..Options::default() };
    let cluster = Cluster::start(bookmarks).await.unwrap();
    fill(&cluster, 5);
    let mut options = options();
    options.silence = Duration::from_secs(2);
    let mut world = World::follow(cluster, options);
    world.synced().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.cluster.requests().count(Verb::List, Kind::Service), 0);
    assert_eq!(world.cluster.requests().count(Verb::Watch, Kind::Service), 1);
}
