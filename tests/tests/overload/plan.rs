//! The plan of memory: said at the start, and shown.

use postern_tests::Result;
use postern_tests::gateway::Options;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn the_plan_is_said_at_the_start_and_shown() -> Result<()> {
    let options =
        Options::default().without_cert_cache().argument("--memory-limit=1GiB").argument("--max-connections=100");
    let world = World::open(options, &json!({})).await?;
    let log = world.gateway.log();
    assert!(log.has_line_with(&["memory plan: limit 1024 MiB = fixed", "routes", "certificates 256 MiB", "headroom"]));
    assert!(!log.has_line_with(&["memory limit is too small"]));
    let overload = world.overload().await?;
    let plan = overload["plan"].as_object().ok_or("no plan")?;
    let parts = ["fixed", "routes", "certificates", "connections", "headroom"];
    let sum: u64 = parts.iter().filter_map(|part| plan[&format!("{part}Bytes")].as_u64()).sum();
    assert_eq!((sum, &plan["fits"], &plan["limitBytes"]), (1 << 30, &json!(true), &json!(1 << 30)));
    let metrics = world.gateway.metrics().await?;
    assert!((metrics.sum("postern_memory_plan_bytes") - f64::from(1 << 30)).abs() < 1.0);
    assert!((metrics.sum("postern_memory_limit_bytes") - f64::from(1 << 30)).abs() < 1.0);
    assert!(metrics.sum("postern_memory_working_set_bytes") > 1e6);
    assert!((metrics.sum("postern_certstore_budget_bytes") - f64::from(256 << 20)).abs() < 1.0);
    Ok(())
}

#[tokio::test]
async fn a_limit_that_is_too_small_is_warned_of_with_what_would_do() -> Result<()> {
    let options = Options::default().argument("--memory-limit=300MiB").argument("--max-connections-per-client=10");
    let world = World::open(options, &json!({"max-connections": "4000"})).await?;
    // 4,000 connections of 40 KiB are 156 MiB; with a cache of 8 MiB and code, that fits.
    let log = world.gateway.log();
    let is_small = world.overload().await?["plan"]["fits"] == json!(false);
    assert_eq!(log.has_line_with(&["memory limit is too small", "at least", "max-connections to at most"]), is_small);
    world.configure(&json!({"max-connections": "4000", "overload-shrink": "40%"}))?;
    postern_tests::patience::eventually("a warning", async || {
        let is_warned = log.has_line_with(&["memory limit is too small", "at least", "max-connections to at most"]);
        postern_tests::ensure(is_warned, || "no warning".to_owned())
    })
    .await
}

#[tokio::test]
async fn as_many_connections_may_be_open_as_the_limit_has_room_for() -> Result<()> {
    let world = World::open(Options::default().argument("--memory-limit=200MiB"), &json!({})).await?;
    let plan = &world.overload().await?["plan"];
    let planned = plan["maxConnections"].as_u64().ok_or("no maxConnections")?;
    assert!(plan["fits"] == json!(true) && (1_000..20_000).contains(&planned), "{plan}");
    let places = world.gateway.metrics().await?.sum("postern_max_connections");
    assert!((places - planned as f64).abs() < 1.0, "{places}, planned are {planned}");
    // What is set holds, whether there is room for it or not.
    for count in [5_000, 5_010] {
        world.configure(&json!({"max-connections": count.to_string()}))?;
        postern_tests::patience::eventually(&format!("{count} places"), async || {
            let places = world.gateway.metrics().await?.sum("postern_max_connections");
            postern_tests::ensure((places - f64::from(count)).abs() < 1.0, || format!("there are {places}"))
        })
        .await?;
    }
    Ok(())
}
