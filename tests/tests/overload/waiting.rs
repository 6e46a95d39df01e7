//! Bodies that nobody takes: their memory is reserved, bounded and given back, and those that somebody takes arrive whole.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::client::raw::RawConnection;
use postern_tests::gateway::{Entry, Options};
use postern_tests::patience::{eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::frames::{ATTACKER, Attacker, END_HEADERS, END_STREAM, HEADERS, SHUT, frame, request};
use crate::world::{HOST, World};

const MIB: u64 = 1 << 20;

/// More than sockets on loopback take by themselves.
const LARGE: usize = 64_000_000;

async fn world(settings: &Value) -> Result<World> {
    let world = World::open(Options::default(), settings).await?;
    world.serves_others().await?;
    Ok(world)
}

/// A connection on which so many answers of so many bytes are asked for and no window is opened.
async fn shut(world: &World, streams: u32, bytes: usize) -> Result<Attacker> {
    let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &SHUT).await?;
    for stream in 0..streams {
        let block = request("GET", &format!("/-/bytes/{bytes}"));
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block)).await?;
    }
    Ok(attacker)
}

/// A connection on which a large answer is asked for and nothing is read.
async fn silent(world: &World) -> Result<RawConnection> {
    let mut connection = RawConnection::open_from(ATTACKER, world.gateway.address("external-http")?).await?;
    connection.send(format!("GET /-/bytes/{LARGE} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await?;
    Ok(connection)
}

async fn metric(world: &World, name: &str, labels: &str) -> Result<f64> {
    Ok(world.gateway.metrics().await?.sum_where(name, labels))
}

/// Bytes that are reserved for requests.
async fn reserved(world: &World) -> Result<f64> {
    metric(world, "postern_memory_reserved_bytes", "request").await
}

/// Requests that were refused as their source holds its share of memory.
async fn refused(world: &World) -> Result<f64> {
    metric(world, "postern_request_failures_total", "source_memory").await
}

/// Requests for this path that have a line in the access log.
fn logged(world: &World, path: &str) -> usize {
    let entries = world.gateway.log().entries();
    let is_one = |entry: &&Entry| {
        [("message", "request"), ("path", path), ("host", HOST), ("method", "GET")]
            .into_iter()
            .all(|(name, value)| entry.field(name) == Some(value))
    };
    entries.iter().filter(is_one).count()
}

async fn until_nothing_waits(world: &World) -> Result<()> {
    eventually("nothing waits", async || {
        let held = reserved(world).await?;
        ensure(held < 1.0, || format!("{held} bytes wait"))
    })
    .await
}

/// Takes a body at a megabyte a second; returns its length.
async fn take_slowly(response: Response<Incoming>) -> Result<usize> {
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let bytes = frame?.into_data().map_or(0, |data| data.len());
        length += bytes;
        tokio::time::sleep(Duration::from_micros(bytes as u64)).await;
    }
    Ok(length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_bounded_and_slow_readers_get_all_of_their_answers() -> Result<()> {
    const LIMIT: u64 = 16 * MIB;
    let world = world(&json!({"max-buffered": "16MiB"})).await?;
    let before = world.gateway.usage()?.peak_rss;
    let mut slow = Vec::new();
    for call in [Call::get("https://shop.test/-/bytes/6000000"), Call::get("https://shop.test/-/bytes/6000000").http2()]
    {
        let mut connection = call.connect(&world.gateway, &world.tls).await?;
        let response = connection.send(&call).await?;
        slow.push(tokio::spawn(async move {
            let length = take_slowly(response).await;
            drop(connection);
            length
        }));
    }
    let mut attackers = Vec::new();
    for _ in 0..8 {
        // A source at its share is refused as soon as it connects.
        attackers.extend(shut(&world, 128, 4_000_000).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    eventually("those that find no memory are refused", async || {
        let count = refused(&world).await?;
        ensure(count >= 50.0, || format!("{count} were"))
    })
    .await?;
    let held = reserved(&world).await?;
    ensure(held <= LIMIT as f64 / 2.0, || format!("{held} bytes are reserved"))?;
    for reader in slow {
        assert_eq!(reader.await??, 6_000_000);
    }
    let grown = world.gateway.usage()?.peak_rss.saturating_sub(before);
    println!("1,024 streams that take nothing: it grew by {} KiB", grown / 1_024);
    // Without the limit it would be 100 MiB and more.
    ensure(grown < LIMIT + 32 * MIB, || format!("it grew by {grown} bytes"))?;
    world.serves_others().await?;
    drop(attackers);
    until_nothing_waits(&world).await
}

/// Small answers are as good a way to hold connections to endpoints and their buffers.
#[tokio::test]
async fn requests_whose_small_answers_wait_are_bounded_too() -> Result<()> {
    const LIMIT: u64 = 16 * MIB;
    let world = world(&json!({"max-buffered": "16MiB"})).await?;
    let mut attackers = Vec::new();
    for _ in 0..6 {
        attackers.extend(shut(&world, 128, 1_000).await);
    }
    eventually("some are refused", async || {
        let count = refused(&world).await?;
        ensure(count >= 50.0, || format!("{count} were"))
    })
    .await?;
    let held = reserved(&world).await?;
    ensure(held <= LIMIT as f64 / 4.0, || format!("{held} bytes are reserved"))?;
    world.serves_others().await?;
    drop(attackers);
    until_nothing_waits(&world).await
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_and_its_endpoint_serves_on() -> Result<()> {
    let world = world(&json!({"write-stall-timeout": "1s"})).await?;
    let mut silent = silent(&world).await?;
    eventually("its answer waits", async || {
        let held = reserved(&world).await?;
        ensure(held >= 65_536.0, || format!("{held} bytes wait"))
    })
    .await?;
    eventually("its connection is closed", async || {
        let closed = metric(&world, "postern_connection_closed_total", "write_stalled").await?;
        ensure(closed >= 1.0, || "it is open".to_owned())
    })
    .await?;
    until_nothing_waits(&world).await?;
    world.until_connections(0).await?;
    ensure(silent.rest(Duration::from_secs(20)).await?.len() < LARGE, || "it got everything".to_owned())?;
    // The connection with the other half of the answer is not used again.
    for _ in 0..4 {
        let reply = world.send(&Call::get("https://shop.test/-/bytes/100000")).await?;
        assert_eq!((reply.status, reply.body.len()), (200, 100_000));
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_nothing_is_taken_of_is_given_up_and_others_of_its_connection_are_not() -> Result<()> {
    for backend in [Backend::http1("shop").await?, Backend::h2c("shop").await?] {
        let world = World::with(backend, Options::default(), &json!({"write-stall-timeout": "1s"})).await?;
        world.serves_others().await?;
        let mut attacker = shut(&world, 50, 4_000_000).await?;
        // Its answer has no body and needs no window: it is served while the others wait, and after they have ended.
        let empty = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/-/status/204"));
        attacker.send(&empty(1_001)).await?;
        eventually("they are given up", async || {
            let failed = metric(&world, "postern_request_failures_total", "client_timeout").await?;
            ensure(failed >= 50.0, || format!("{failed} were"))
        })
        .await?;
        attacker.send(&empty(1_003)).await?;
        eventually("others of the connection are served", async || {
            let answered = metric(&world, "postern_responses_total", "class=\"2xx\",origin=\"upstream\"").await?
                + metric(&world, "postern_responses_total", "origin=\"upstream\",class=\"2xx\"").await?;
            ensure(answered >= 54.0, || format!("{answered} answers"))
        })
        .await?;
        until_nothing_waits(&world).await?;
        world.serves_others().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_began_in_calm_is_given_up_soon_when_memory_gets_short() -> Result<()> {
    let world = World::open(Options::default().argument("--memory-limit=1GiB"), &crate::world::stage("calm")).await?;
    world.serves_others().await?;
    let attacker = shut(&world, 20, 4_000_000).await?;
    eventually("all streams are served", async || {
        let streams = metric(&world, "postern_listener_streams", "external-http").await?;
        ensure(streams >= 20.0, || format!("{streams}"))
    })
    .await?;
    world.configure(&crate::world::stage("shrink"))?;
    world.until_stage("shrink").await?;
    eventually_within(Duration::from_secs(40), "they are given up", async || {
        let count = metric(&world, "postern_request_failures_total", "client_timeout").await?;
        ensure(count >= 20.0, || format!("{count} were"))
    })
    .await?;
    until_nothing_waits(&world).await?;
    eventually("they have lines in the access log", async || {
        let lines = logged(&world, "/-/bytes/4000000");
        ensure(lines == 20, || format!("{lines} of 20"))
    })
    .await?;
    assert!(metric(&world, "postern_listener_streams", "").await? < 1.0);
    drop(attacker);
    eventually("its streams are in the histogram", async || {
        let most = metric(&world, "postern_listener_most_streams_sum", "external-http\"").await?;
        ensure(most >= 20.0, || format!("{most}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_an_endpoint_does_not_take_are_bounded_too() -> Result<()> {
    const LIMIT: u64 = 4 * MIB;
    let world = world(&json!({"max-buffered": "4MiB"})).await?;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut connection = RawConnection::open_from(ATTACKER, world.gateway.address("external-http")?).await?;
        let head = format!("POST /-/hold HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LARGE}\r\n\r\n");
        clients.push(tokio::spawn(async move {
            connection.send(head).await?;
            connection.send(vec![b'x'; LARGE]).await
        }));
    }
    eventually("some are refused", async || {
        let count = refused(&world).await?;
        ensure(count >= 1.0, || format!("{count} were"))
    })
    .await?;
    let held = reserved(&world).await?;
    ensure(held > 1.0 && held <= LIMIT as f64 / 4.0, || format!("{held} bytes are reserved"))?;
    world.serves_others().await?;
    // It takes what there is, and the rest does not come.
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    world.backend.permit(clients.len());
    until_nothing_waits(&world).await
}
