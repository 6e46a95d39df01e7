//! What servers do to their clients.

use std::time::{Duration, Instant};

use postern_tests::cluster::{Distortion, Fault, Kind, Rule, Silence, Verb};

use crate::world::{World, options, service};

/// A rollout: Services come, change and go.
fn roll_out(world: &World, round: usize) {
    let state = format!("r{round}");
    world.cluster.apply(service(&format!("new{round}"), &state)).unwrap();
    for number in 0..5 {
        world.cluster.apply(service(&format!("s{number}"), &state)).unwrap();
    }
    world.cluster.delete(Kind::Service, "shop", &format!("new{}", round.wrapping_sub(1)));
}

/// How many changes one round makes.
const CHANGES: u64 = 7;

async fn rolled_out(world: &mut World, round: usize) {
    let state = format!("r{round}");
    let previous = format!("new{}", round.wrapping_sub(1));
    world
        .until(&format!("round {round} is seen"), |world| {
            (0..5).all(|number| world.service(&format!("s{number}")) == Some(&state))
                && world.service(&format!("new{round}")).is_some()
                && world.service(&previous).is_none()
        })
        .await;
}

#[tokio::test]
async fn a_watch_dropped_at_any_point_of_a_rollout_loses_nothing() {
    let mut world = World::start(5).await;
    world.synced().await;
    let mut round = 0;
    for reset in [false, true] {
        for events in 0..=CHANGES {
            let fault = Fault::DropWatch { events: Some(events), after: None, reset };
            let rule = world.cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, fault));
            // Ends the watch that is there, so that the next one is struck.
            world.cut().await;
            roll_out(&world, round);
            if events == 0 {
                // A watch that tells nothing ever, until it is mended.
                tokio::time::sleep(Duration::from_millis(100)).await;
                world.cluster.faults().remove(rule);
            }
            rolled_out(&mut world, round).await;
            world.cluster.faults().remove(rule);
            round += 1;
        }
    }
    assert_eq!(world.services(), 6);
}

#[tokio::test]
async fn a_position_that_is_forgotten_leads_to_a_new_list() {
    for fault in [Fault::Gone, Fault::ErrorEvent { events: 0, code: 410 }] {
        let mut world = World::start(5).await;
        world.synced().await;
        world.cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, fault).times(1));
        world.cut().await;
        roll_out(&world, 0);
        rolled_out(&mut world, 0).await;
        assert!(world.faults.is_empty());
    }
}

#[tokio::test]
async fn repeated_stale_and_reordered_events_end_in_the_present_state() {
    for how in [Distortion::Repeat(3), Distortion::Stale, Distortion::Reorder] {
        let mut world = World::start(5).await;
        world.cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, Fault::Distort { how }));
        world.synced().await;
        for round in 0..5 {
            roll_out(&world, round);
        }
        rolled_out(&mut world, 4).await;
        assert_eq!(world.services(), 6);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_time_is_asked_again_when_it_is_over() {
    let cluster = postern_tests::cluster::Cluster::start(postern_tests::cluster::Options::default()).await.unwrap();
    let busy = Fault::Status { code: 429, retry_after_seconds: Some(2) };
    cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, busy).times(1));
    let begun = Instant::now();
    let mut world = World::follow(cluster, options());
    world.synced().await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_is_away_takes_nothing_away() {
    for silence in [Silence::Refusing, Silence::Stalled] {
        let mut world = World::start(20).await;
        world.synced().await;
        world.cluster.silence(silence);
        let said = tokio::time::timeout(Duration::from_secs(3), world.until("a 21st", |world| world.services() > 20));
        assert!(said.await.is_err());
        assert_eq!((world.services(), world.deletions), (20, 0));
        world.cluster.silence(Silence::Answering);
        world.cluster.apply(service("s1", "after")).unwrap();
        world.sees("s1", "after").await;
    }
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up_and_made_again() {
    let mut world = World::start(5).await;
    let rule = world.cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, Fault::Stall).times(1));
    world.synced().await;
    assert_eq!((world.services(), world.cluster.faults().struck(rule)), (5, 1));
}

#[tokio::test]
async fn a_connection_reset_amid_a_list_leads_to_a_whole_one() {
    for bytes in [0, 10, 1_000, 5_000] {
        let cluster = postern_tests::cluster::Cluster::start(postern_tests::cluster::Options::default()).await.unwrap();
        crate::world::fill(&cluster, 50);
        cluster.faults().add(Rule::on(Verb::Watch, Kind::Service, Fault::ResetAfter { bytes }).times(2));
        let mut world = World::follow(cluster, options());
        world.synced().await;
        assert_eq!((world.services(), world.deletions), (50, 0));
    }
}
