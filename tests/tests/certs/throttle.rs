//! Clients that ask for more than may be loaded.

use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{World, host};

#[tokio::test]
async fn who_asks_for_too_many_names_at_once_waits_and_is_refused_in_time() -> Result<()> {
    let options = Options::default().argument("--cert-miss-rate=1").argument("--handshake-timeout=1s");
    let world = World::open_with(8, options).await?;
    let hosts: Vec<_> = (0..8).map(host).collect();
    let results = futures_util::future::join_all(hosts.iter().map(|host| world.handshake(host))).await;
    let served = results.iter().filter(|result| result.is_ok()).count();
    assert!((1..=4).contains(&served), "{served} of 8");
    let metrics = world.gateway.metrics().await?;
    let throttled = metrics.sum_where("postern_certstore_rejects_total", "reason=\"throttled\"");
    assert!(throttled >= 4.0, "{throttled}");
    assert!(metrics.sum("postern_certstore_delayed_misses_total") >= throttled);
    // What is cached is served meanwhile, and the others get their turn.
    let cached = results.iter().position(Result::is_ok).ok_or("none was served")?;
    world.handshake(&hosts[cached]).await?;
    for host in &hosts {
        eventually(&format!("{host} is served"), async || world.handshake(host).await).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_expires_soon_and_whether_it_is_ready_are_among_the_metrics() -> Result<()> {
    let world = World::open(1).await?;
    world.handshake("s0.test").await?;
    let expected = ["expired", "1d", "7d", "30d"];
    eventually("horizons are counted", async || {
        let metrics = world.gateway.metrics().await?;
        for horizon in expected {
            let label = format!("horizon=\"{horizon}\"");
            ensure(metrics.text().contains(&label), || format!("no {label}"))?;
        }
        ensure((metrics.sum("postern_ready") - 1.0).abs() < f64::EPSILON, || "not ready".to_owned())
    })
    .await
}
