//! Large answers: read as fast as they come, or slowly with a small window, so that they wait in the gateway.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::Result;
use postern_tests::client::Connection;
use postern_tests::client::raw::{Head, RawConnection};

use super::names::host;
use super::traffic::ask;
use super::world::{How, Tls, World};
use crate::order::{Count, Failure};

/// Size of an answer that is read fast, in bytes.
const LARGE: usize = 4_000_000;

/// Size of an answer that is read slowly, in bytes.
const SLOW: usize = 512 * 1_024;

/// A slow reader takes so much,
const SIP: usize = 8 * 1_024;

/// and then waits so long: 40 KiB a second.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts both kinds, for as long as the process lives.
pub(crate) fn start(world: &World) {
    let mut rng = Rng::with_seed(world.target().seed ^ 0x446f_776e);
    for number in 0..world.target().downloads {
        tokio::spawn(download_for_ever(world.clone(), rng.fork(), number % 2 == 1));
        tokio::spawn(sip_for_ever(world.clone(), rng.fork()));
    }
}

async fn download_for_ever(world: World, mut rng: Rng, http2: bool) {
    loop {
        let number = world.names().pick(&mut rng);
        if let Some((stream, _)) = world.handshake(number, How { http2, resuming: true, small_buffer: false }).await {
            let _open = world.tally().open();
            if let Ok(mut connection) = Connection::open(stream, http2).await
                && ask(&world, &mut connection, number, LARGE).await
            {
                world.tally().count(Count::Downloads);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn sip_for_ever(world: World, mut rng: Rng) {
    loop {
        let number = world.names().pick(&mut rng);
        let how = How { http2: false, resuming: true, small_buffer: true };
        if let Some((stream, _)) = world.handshake(number, how).await {
            let _open = world.tally().open();
            match sip(stream, number).await {
                Ok(Sipped::All) => world.tally().count(Count::SlowReads),
                Ok(Sipped::Cut) => world.tally().count(Count::SlowReadersCut),
                Ok(Sipped::Status(status)) => {
                    world.tally().fail(Failure::ServerError, || format!("{} answered {status}", host(number)));
                }
                Err(error) => {
                    world.tally().fail(Failure::Request, || format!("a slow read of {}: {error}", host(number)));
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

enum Sipped {
    All,
    /// The gateway lost patience, as it may.
    Cut,
    Status(u16),
}

async fn sip(stream: Tls, number: usize) -> Result<Sipped> {
    let mut connection = RawConnection::over(stream);
    connection.send(format!("GET /-/bytes/{SLOW} HTTP/1.1\r\nHost: {}\r\n\r\n", host(number))).await?;
    match connection.head().await? {
        Head::Status(200, _) => {}
        Head::Status(status, _) => return Ok(Sipped::Status(status)),
        Head::Closed => return Err("closed instead of an answer".into()),
    }
    for _ in 0..SLOW / SIP {
        if connection.body(SIP).await.is_err() {
            return Ok(Sipped::Cut);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Sipped::All)
}
