//! A crawl: one full handshake with each name in turn, as a search engine or a certificate monitor makes.

use std::time::Duration;

use tokio::time::Instant;

use super::world::{How, World};

/// Crawls for so long at this rate, from this service on.
pub(crate) fn start(world: &World, first: usize, rate: u32, lasts: Duration) {
    let world = world.clone();
    tokio::spawn(async move {
        let ends = Instant::now() + lasts;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        for number in (0..world.names().len()).cycle().skip(first % world.names().len()) {
            ticks.tick().await;
            if Instant::now() >= ends {
                return;
            }
            let world = world.clone();
            tokio::spawn(async move { world.handshake(number, How::default()).await.map(drop) });
        }
    });
}
