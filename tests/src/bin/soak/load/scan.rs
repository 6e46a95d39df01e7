//! A scan: hellos with names that nobody has. Each must be refused, whatever else goes on.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::client::hello::{Answer, UNRECOGNIZED_NAME, greet_over};
use tokio::time::Instant;

use super::world::World;
use crate::order::{Count, Failure, Sign};

/// Names a second.
const RATE: u32 = 100;

/// Scans for so long.
pub(crate) fn start(world: &World, lasts: Duration) {
    let world = world.clone();
    tokio::spawn(async move {
        let ends = Instant::now() + lasts;
        let mut rng = Rng::with_seed(world.target().seed ^ 0x5363_616e);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        while Instant::now() < ends {
            ticks.tick().await;
            let name = format!("{:x}.tenant-{:02}.example.com", rng.u64(..), rng.u32(0..100));
            tokio::spawn(guess(world.clone(), name));
        }
    });
}

async fn guess(world: World, name: String) {
    let Ok(stream) = world.tcp(false).await else { return world.tally().count(Count::ScansTurnedAway) };
    match greet_over(stream, Some(name.as_bytes())).await {
        Ok(answer) if answer == UNRECOGNIZED_NAME => world.tally().count(Count::ScansRefused),
        Ok(Answer::Certificate(serial)) => {
            let words = || format!("{name}, which nobody has: served {serial}");
            world.tally().fail(Failure::WrongCertificate, Sign::Other, words);
        }
        _ => world.tally().count(Count::ScansTurnedAway),
    }
}
