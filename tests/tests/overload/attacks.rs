//! Attacks on HTTP/2 that the gateway ends: floods of frames, resets and headers.

use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, request,
};
use crate::world::World;

/// What one connection may make the process grow by, in bytes: its buffers and windows, and the noise of a process that
/// serves.
const GROWTH: u64 = 24 << 20;

/// Floods a gateway, which is to end the connection, to grow by little, and to go on serving others.
async fn is_ended(times: u32, prepare: &[u8], next: impl FnMut(u32) -> Vec<u8>, reason: &str) -> Result<()> {
    let world = World::open(Options::default(), &json!({})).await?;
    world.serves_others().await?;
    let before = world.gateway.usage()?.peak_rss;
    let mut attacker = Attacker::connect(world.gateway.address("external-http")?, &[]).await?;
    attacker.send(prepare).await?;
    ensure(attacker.flood(times, next).await, || "the gateway takes it all".to_owned())?;
    let grown = world.gateway.usage()?.peak_rss.saturating_sub(before);
    ensure(grown < GROWTH, || format!("it grew by {grown} bytes"))?;
    eventually("the end is counted", async || {
        let closed = world.gateway.metrics().await?.sum_where("postern_connection_closed_total", reason);
        ensure(reason.is_empty() || closed >= 1.0, || format!("nothing closed for {reason}"))
    })
    .await?;
    drop(attacker);
    world.serves_others().await
}

/// A request that is complete, on stream 1.
fn first_request() -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/"))
}

fn odd(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test]
async fn rapid_reset() -> Result<()> {
    let next = |number| {
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, odd(number), &request("GET", "/-/slow/50"));
        bytes.extend(frame(RST_STREAM, 0, odd(number), &8_u32.to_be_bytes()));
        bytes
    };
    is_ended(20_000, &[], next, "").await
}

#[tokio::test]
async fn streams_that_the_gateway_is_made_to_reset() -> Result<()> {
    // MadeYouReset (CVE-2025-8671): a window update of zero is an error of the stream.
    let next = |number| {
        let mut bytes = frame(HEADERS, END_HEADERS, odd(number), &request("POST", "/-/slow/50"));
        bytes.extend(frame(WINDOW_UPDATE, 0, odd(number), &0_u32.to_be_bytes()));
        bytes
    };
    is_ended(20_000, &[], next, "").await
}

#[tokio::test]
async fn continuation_flood() -> Result<()> {
    let begin = frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
    // Literal header without indexing, name and value of a few bytes.
    let more = |_| frame(CONTINUATION, 0, 1, b"\x00\x03x-a\x03abc").repeat(100);
    is_ended(20_000, &begin, more, "").await
}

#[tokio::test]
async fn continuation_flood_of_empty_frames() -> Result<()> {
    let begin = frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
    is_ended(20_000, &begin, |_| frame(CONTINUATION, 0, 1, &[]).repeat(100), "").await
}

#[tokio::test]
async fn settings_flood() -> Result<()> {
    is_ended(20_000, &first_request(), |_| frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]).repeat(10), "frame_flood").await
}

#[tokio::test]
async fn ping_flood() -> Result<()> {
    is_ended(20_000, &first_request(), |_| frame(PING, 0, 0, b"12345678").repeat(10), "frame_flood").await
}

#[tokio::test]
async fn priority_flood() -> Result<()> {
    let next = |number: u32| frame(PRIORITY, 0, odd(number), &[0, 0, 0, 0, 16]);
    is_ended(100_000, &first_request(), next, "frame_flood").await
}

#[tokio::test]
async fn empty_data_flood() -> Result<()> {
    let begin = frame(HEADERS, END_HEADERS, 1, &request("POST", "/-/hold"));
    is_ended(20_000, &begin, |_| frame(DATA, 0, 1, &[]).repeat(10), "").await
}

#[tokio::test]
async fn window_update_flood() -> Result<()> {
    let next = |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(10);
    is_ended(20_000, &first_request(), next, "frame_flood").await
}

#[tokio::test]
async fn unknown_frames_flood() -> Result<()> {
    is_ended(20_000, &first_request(), |_| frame(0xbe, 0, 0, b"grease").repeat(10), "frame_flood").await
}
