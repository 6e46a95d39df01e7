//! Everyday load: new connections at a steady rate, with names by Zipf's law and a few requests each.

use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use http_body_util::BodyExt;
use postern_tests::client::{Call, Connection};
use postern_tests::patience::PATIENCE;
use postern_tests::{Error, ensure};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::names::host;
use super::sign;
use super::world::{How, World};
use crate::order::{Count, Failure, Sign};

/// Connections under way at the same time; beyond these the load can't keep up, and says so.
pub(super) const UNDER_WAY: u32 = 512;

/// Requests of one connection, at most.
const REQUESTS: u32 = 5;

/// Sizes of answers in bytes.
const SIZES: [usize; 4] = [200, 1_000, 8_000, 40_000];

/// What a client leaves between an answer and its next request, at most.
const THINKS: Duration = Duration::from_millis(300);

static SLOTS: Semaphore = Semaphore::const_new(UNDER_WAY as usize);

/// Starts it, for as long as the process lives.
pub(crate) fn start(world: &World) {
    let rate = world.target().rate;
    if rate == 0 {
        return;
    }
    let world = world.clone();
    tokio::spawn(async move {
        let mut rng = Rng::with_seed(world.target().seed);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            let Ok(slot) = SLOTS.try_acquire() else {
                world.tally().count(Count::Skipped);
                continue;
            };
            let (world, mut rng) = (world.clone(), rng.fork());
            tokio::spawn(async move {
                visit(&world, &mut rng).await;
                drop(slot);
            });
        }
    });
}

/// One connection with its requests. Two in three clients remember sessions, two in five speak HTTP/2.
async fn visit(world: &World, rng: &mut Rng) {
    let number = world.names().pick(rng);
    let how = How { http2: rng.u32(0..5) < 2, resuming: rng.u32(0..3) < 2, small_buffer: false };
    let Some((stream, _)) = world.handshake(number, how).await else { return };
    let _open = world.tally().open();
    let mut connection = match Connection::open(stream, how.http2).await {
        Ok(connection) => connection,
        Err(error) => {
            let words = || format!("opening HTTP to {}: {error}", host(number));
            return world.tally().fail(Failure::Request, sign::of_request(&error), words);
        }
    };
    for request in 0..rng.u32(1..=REQUESTS) {
        if request > 0 {
            tokio::time::sleep(THINKS.mul_f64(rng.f64())).await;
            if !connection.is_open() {
                return;
            }
        }
        if !ask(world, &mut connection, number, SIZES[rng.usize(..SIZES.len())]).await {
            return;
        }
    }
}

/// What came of a request.
enum Answer {
    /// 200, with all its bytes.
    Whole,
    /// Of the 5xx kind.
    ServerError(u16, Sign),
    /// None, or a wrong one.
    None(Error, Sign),
}

/// One request, counted. False if the connection is of no more use.
pub(super) async fn ask(world: &World, connection: &mut Connection, number: usize, size: usize) -> bool {
    match exchange(connection, number, size).await {
        Answer::Whole => {
            world.tally().count(Count::Requests);
            true
        }
        Answer::ServerError(status, sign) => {
            world.tally().fail(Failure::ServerError, sign, || format!("{} answered {status}", host(number)));
            false
        }
        Answer::None(error, sign) => {
            world.tally().fail(Failure::Request, sign, || format!("a request to {}: {error}", host(number)));
            false
        }
    }
}

async fn exchange(connection: &mut Connection, number: usize, size: usize) -> Answer {
    let call = Call::get(&format!("https://{}/-/bytes/{size}", host(number)));
    let response = match connection.send(&call).await {
        Ok(response) => response,
        Err(error) => {
            let sign = sign::of_request(&error);
            return Answer::None(error, sign);
        }
    };
    let (status, sign) = (response.status(), sign::of_answer(response.status(), response.headers()));
    let length = match tokio::time::timeout(PATIENCE, response.into_body().collect()).await {
        Err(_) => return Answer::None("the body did not come".into(), Sign::Other),
        Ok(Err(error)) => return Answer::None(error.into(), Sign::Cut),
        Ok(Ok(body)) => body.to_bytes().len(),
    };
    if status.is_server_error() {
        return Answer::ServerError(status.as_u16(), sign);
    }
    let wanted = || format!("answered {status} with {length} bytes instead of {size}");
    match ensure(status == StatusCode::OK && length == size, wanted) {
        Ok(()) => Answer::Whole,
        Err(error) => Answer::None(error, Sign::Other),
    }
}
