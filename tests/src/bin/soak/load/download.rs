//! Large answers: read as fast as they come, or slowly with a small window, so that they wait in the gateway.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::Error;
use postern_tests::client::Connection;
use postern_tests::client::raw::{Head, RawConnection};

use super::names::host;
use super::sign;
use super::traffic::ask;
use super::world::{How, Tls, World};
use crate::order::{Count, Failure, Sign};

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
                Sipped::All => world.tally().count(Count::SlowReads),
                Sipped::Cut => world.tally().count(Count::SlowReadersCut),
                Sipped::Status(status, sign) => {
                    world.tally().fail(Failure::ServerError, sign, || format!("{} answered {status}", host(number)));
                }
                Sipped::Nothing(error, sign) => {
                    world.tally().fail(Failure::Request, sign, || format!("a slow read of {}: {error}", host(number)));
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
    Status(u16, Sign),
    /// No answer.
    Nothing(Error, Sign),
}

async fn sip(stream: Tls, number: usize) -> Sipped {
    let mut connection = RawConnection::over(stream);
    let request = format!("GET /-/bytes/{SLOW} HTTP/1.1\r\nHost: {}\r\n\r\n", host(number));
    let head = match connection.send(request).await {
        Ok(()) => connection.head().await,
        Err(error) => Err(error),
    };
    match head {
        Ok(Head::Status(200, _)) => {}
        Ok(Head::Status(status, head)) => return Sipped::Status(status, sign::of_head(status, &head)),
        Ok(Head::Closed) => return Sipped::Nothing("closed instead of an answer".into(), Sign::Leaving),
        Err(error) => {
            let sign = sign::of_request(&error);
            return Sipped::Nothing(error, sign);
        }
    }
    for _ in 0..SLOW / SIP {
        if connection.body(SIP).await.is_err() {
            return Sipped::Cut;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Sipped::All
}
