//! The stages, one by one, under a limit that is a flag.

use postern_tests::client::raw::{Head, RawConnection};
use postern_tests::client::{Call, Reply};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::world::{World, stage};

async fn world() -> Result<World> {
    World::open(Options::default().argument("--memory-limit=1GiB"), &stage("calm")).await
}

const REQUEST: &str = "GET /-/bytes/2 HTTP/1.1\r\nHost: shop.test\r\n\r\n";

async fn answered(connection: &mut RawConnection) -> Result<Head> {
    connection.send(REQUEST).await?;
    let head = connection.head().await?;
    if matches!(head, Head::Status(200, _)) {
        connection.body(2).await?;
    }
    Ok(head)
}

#[tokio::test]
async fn the_cache_has_its_floor_while_memory_is_short_and_loads_go_on() -> Result<()> {
    let world = world().await?;
    let budget = async || {
        let status = world.gateway.admin("/api/v1/status").await?;
        Ok::<_, postern_tests::Error>(status["certificates"]["budgetBytes"].clone())
    };
    assert_eq!(budget().await?, 8 << 20);
    world.configure(&stage("shrink"))?;
    world.until_stage("shrink").await?;
    assert_eq!(budget().await?, 2 << 20);
    world.serves_others().await?;
    world.configure(&stage("calm"))?;
    world.until_stage("calm").await?;
    // Not all at once, or it would fill up and have to shrink again.
    let grown = json!(4 << 20);
    eventually("the cache has more again", async || {
        let budget = budget().await?;
        ensure(budget == grown, || budget.to_string())
    })
    .await?;
    let metrics = world.gateway.metrics().await?;
    for (name, labels, value) in [
        ("postern_overload_stage", "", 0.0),
        ("postern_overload_stage_changes_total", "shrink", 1.0),
        ("postern_overload_stage_changes_total", "calm", 1.0),
        ("postern_overload_stage_changes_total", "refuse", 0.0),
    ] {
        assert!((metrics.sum_where(name, labels) - value).abs() < 0.1, "{name} {labels}: {}", metrics.text());
    }
    assert!(world.gateway.log().has_line_with(&["memory runs short", "shrink"]));
    assert!(world.gateway.log().has_line_with(&["memory recovers", "calm"]));
    Ok(())
}

#[tokio::test]
async fn idle_connections_are_closed_little_by_little_while_requests_are_served() -> Result<()> {
    let world = world().await?;
    let http = world.gateway.address("external-http")?;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut connection = RawConnection::open(http).await?;
        assert!(matches!(answered(&mut connection).await?, Head::Status(200, _)));
        idle.push(connection);
    }
    let get = Call::get("https://shop.test/").http2();
    for _ in 0..10 {
        let mut connection = get.connect(&world.gateway, &world.tls).await?;
        assert_eq!(Reply::read(connection.send(&get).await?).await?.status, 200);
        tokio::spawn(connection.closed());
    }
    let held = Call::get("https://shop.test/-/hold");
    let mut busy = held.connect(&world.gateway, &world.tls).await?;
    let pending = busy.start(&held).await?;
    let held_up = async || ensure(world.backend.waiting() == 1, || "it is not held".to_owned());
    eventually("a request under way", async || held_up().await).await?;
    world.configure(&stage("close"))?;
    world.until_stage("close").await?;
    world.serves_others().await?;
    // The one with a request under way.
    world.until_connections(1).await?;
    world.backend.permit(1);
    assert_eq!(Reply::read(pending.await?).await?.status, 200);
    let closed = world.gateway.metrics().await?.sum_where("postern_connection_closed_total", "overload");
    assert!(closed >= 1.0, "{closed}");
    for mut connection in idle {
        assert_eq!(connection.head().await?, Head::Closed);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_new_is_refused_until_memory_recovers_but_for_probes() -> Result<()> {
    let world = world().await?;
    let mut open = RawConnection::open(world.gateway.address("external-http")?).await?;
    assert!(matches!(answered(&mut open).await?, Head::Status(200, _)));
    let get = Call::get("https://shop.test/").http2();
    let mut http2 = get.connect(&world.gateway, &world.tls).await?;
    // An answer under way: idle connections are closed before anything is refused on them.
    let under_way = http2.send(&Call::get("https://shop.test/-/parts/1").http2()).await?;
    assert_eq!(under_way.status(), 200);

    world.configure(&stage("refuse"))?;
    world.until_stage("refuse").await?;
    let Head::Status(503, head) = answered(&mut open).await? else { return Err("it is not refused".into()) };
    assert!(head.to_lowercase().contains("retry-after: 5\r\n") && head.to_lowercase().contains("connection: close"));
    let reply = Reply::read(http2.send(&get).await?).await?;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    drop(under_way);
    let mut new = RawConnection::open(world.gateway.address("external-http")?).await?;
    // The request may find the connection closed already.
    let _closed = new.send(REQUEST).await;
    assert_eq!(new.head().await?, Head::Closed);
    assert!(world.send(&Call::get("https://shop.test/")).await.is_err());
    assert_eq!(world.send(&Call::get("http://shop.test/").on("probe-http")).await?.status, 200);
    assert_eq!(world.send(&Call::get("http://localhost/readyz").on("metrics")).await?.status, 200);
    let metrics = world.gateway.metrics().await?;
    for what in ["connection", "request"] {
        assert!(metrics.sum_where("postern_overload_refused_total", what) >= 2.0, "{what}: {}", metrics.text());
    }
    assert!(metrics.sum_where("postern_listener_refused_total", "overload") >= 2.0);

    world.configure(&stage("calm"))?;
    world.until_stage("calm").await?;
    world.serves_others().await
}

#[tokio::test]
async fn a_limit_that_goes_away_ends_the_stages() -> Result<()> {
    let world = world().await?;
    world.configure(&stage("close"))?;
    world.until_stage("close").await?;
    let mut off = stage("close");
    off["memory-limit"] = "off".into();
    // The flag is stronger than the map: with it, the limit stays.
    world.configure(&off)?;
    assert_eq!(world.overload().await?["limitBytes"], 1 << 30);
    let world = World::open(Options::default(), &{
        let mut limited = stage("close");
        limited["memory-limit"] = "1GiB".into();
        limited
    })
    .await?;
    world.until_stage("close").await?;
    world.configure(&off)?;
    world.until_stage("calm").await?;
    world.serves_others().await
}
