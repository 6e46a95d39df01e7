//! Attacks on HTTP/2 that keep to the rules: headers that expand, windows that stay shut, bodies in crumbs. They are bounded.

use postern_tests::gateway::Options;
use postern_tests::patience::{PATIENCE, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::frames::{Attacker, DATA, END_HEADERS, END_STREAM, HEADERS, SHUT, frame, request};
use crate::world::{World, stage};

/// Streams of a connection, as the gateway allows them.
const STREAMS: u32 = 128;

async fn world() -> Result<World> {
    let world = World::open(Options::default(), &json!({})).await?;
    world.serves_others().await?;
    Ok(world)
}

/// How much the process has grown since `before`, at the peak.
fn grown(world: &World, before: u64) -> Result<u64> {
    Ok(world.gateway.usage()?.peak_rss.saturating_sub(before))
}

/// A header that is put into the dynamic table and then referred to by one byte each time (CVE-2026-49975).
#[tokio::test]
async fn a_header_list_that_expands_is_refused_before_it_takes_memory() -> Result<()> {
    for name in ["x-bomb", "cookie"] {
        let world = world().await?;
        let before = world.gateway.usage()?.peak_rss;
        let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &[]).await?;
        for stream in 0..STREAMS {
            let mut block = request("GET", "/");
            // Literal with incremental indexing: an entry of 3,000 bytes, then 62, the newest entry, a few thousand times.
            block.extend([0x40, u8::try_from(name.len())?]);
            block.extend(name.as_bytes());
            // 3,000 = 127 + 2,873, in two more groups of seven bits (RFC 7541 §5.1).
            block.extend([0x7f, 0xb9, 0x16]);
            block.extend(vec![b'x'; 3_000]);
            block.extend(vec![0xbe; 8_000]);
            let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block);
            if attacker.send(&bytes).await.is_err() {
                break;
            }
        }
        world.serves_others().await?;
        let grown = grown(&world, before)?;
        // Each list would be 24 MB.
        ensure(grown < 24 << 20, || format!("{name}: it grew by {grown} bytes"))?;
        ensure(world.backend.requests() < 10, || "it was passed on".to_owned())?;
    }
    Ok(())
}

/// A client that asks for large answers and opens no window for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_wait_in_bounded_memory() -> Result<()> {
    const CONNECTIONS: u64 = 4;
    let world = world().await?;
    let before = world.gateway.usage()?.peak_rss;
    let mut attackers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &SHUT).await?;
        for stream in 0..STREAMS {
            let block = request("GET", "/-/bytes/1000000");
            attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block)).await?;
        }
        attackers.push(attacker);
    }
    eventually_within(PATIENCE * 2, "all requests are under way", async || {
        let requests = world.backend.requests();
        ensure(requests >= CONNECTIONS * u64::from(STREAMS), || format!("{requests}"))
    })
    .await?;
    world.serves_others().await?;
    let each = grown(&world, before)? / (CONNECTIONS * u64::from(STREAMS));
    println!("an answer that waits: {} KiB", each / 1_024);
    // A chunk on its way, the request itself, and what is there for its endpoint.
    ensure(each < 96 * 1_024, || format!("{each} bytes a stream"))
}

#[tokio::test]
async fn answers_that_nobody_takes_are_given_up_soon_while_memory_is_short() -> Result<()> {
    let world = World::open(Options::default().argument("--memory-limit=1GiB"), &stage("shrink")).await?;
    world.until_stage("shrink").await?;
    let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &SHUT).await?;
    for stream in 0..STREAMS {
        let block = request("GET", "/-/bytes/4000000");
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block)).await?;
    }
    eventually_within(PATIENCE * 2, "all streams have ended", async || {
        let ended = world.gateway.metrics().await?.sum_where("postern_requests_total", "external-http");
        ensure(ended >= f64::from(STREAMS), || format!("{ended}"))
    })
    .await
}

/// A body in frames of a byte each, to a backend that does not read.
#[tokio::test]
async fn a_body_in_crumbs_waits_in_bounded_memory() -> Result<()> {
    let world = world().await?;
    let before = world.gateway.usage()?.peak_rss;
    let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &[]).await?;
    attacker.send(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/-/hold"))).await?;
    let crumbs = frame(DATA, 0, 1, b"x").repeat(1_000);
    attacker.flood(1_000, |_| crumbs.clone()).await;
    world.serves_others().await?;
    let grown = grown(&world, before)?;
    ensure(grown < 48 << 20, || format!("it grew by {grown} bytes"))
}
