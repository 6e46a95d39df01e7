//! Connections that make one request and then stay, until the gateway closes them.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::client::Connection;

use super::traffic::ask;
use super::world::{How, World};
use crate::order::Count;

/// Starts them, for as long as the process lives; so many a second that it is no storm.
pub(crate) fn start(world: &World) {
    let mut rng = Rng::with_seed(world.target().seed ^ 0x4964_6c65);
    for number in 0..world.target().idle {
        let (world, rng) = (world.clone(), rng.fork());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(25) * number).await;
            stay_for_ever(world, rng).await;
        });
    }
}

async fn stay_for_ever(world: World, mut rng: Rng) {
    loop {
        let number = world.names().pick(&mut rng);
        let http2 = rng.bool();
        if let Some((stream, _)) = world.handshake(number, How { http2, resuming: true, small_buffer: false }).await {
            let _open = world.tally().open();
            if let Ok(mut connection) = Connection::open(stream, http2).await
                && ask(&world, &mut connection, number, 1_000).await
            {
                // However it ends, it is the gateway that has ended it.
                let _closed = connection.closed().await;
                world.tally().count(Count::IdleClosed);
            }
        }
        // Those that are closed together do not come back together.
        tokio::time::sleep(Duration::from_secs(1) + Duration::from_secs(2).mul_f64(rng.f64())).await;
    }
}
