//! Advice about other budgets, from real traffic.

use postern_tests::Result;
use postern_tests::gateway::Options;

use crate::world::{World, host};

#[tokio::test]
async fn before_any_traffic_there_is_nothing_to_advise() -> Result<()> {
    let world = World::open(1).await?;
    let printed = world.certs(&["advise"]).await?;
    assert!(printed.code == Some(0) && printed.out.contains("nothing to advise"), "{printed:?}");
    Ok(())
}

#[tokio::test]
async fn a_cache_that_is_too_small_is_advised_to_grow_to_where_everything_is_found() -> Result<()> {
    // Room for about six of twelve certificates, which are asked for in turn.
    let world = World::open_with(12, Options::default().cert_cache("16KiB")).await?;
    for number in 0..120 {
        world.handshake(&host(number % 12)).await?;
    }
    let advice = world.json(&["advise"]).await?;
    let ratios: Vec<f64> =
        advice["sizes"].as_array().into_iter().flatten().filter_map(|size| size["hitRatio"].as_f64()).collect();
    assert_eq!(ratios.len(), 7, "{advice}");
    // All but the first twelve references would be found in the largest.
    assert!((0.85..0.95).contains(&ratios[6]), "{advice}");
    assert!(ratios[0] < 0.3, "{advice}");
    let error = advice["error"].as_f64().unwrap_or(1.0);
    assert!(error.abs() <= 0.02, "{advice}");
    assert!(advice["missSeconds"]["mean"].as_f64().is_some_and(|mean| mean > 0.0), "{advice}");
    let printed = world.certs(&["advise"]).await?.out;
    assert!(
        printed.contains("16.0 KiB") && printed.contains("now") && printed.contains("do not rely on this"),
        "{printed}"
    );
    Ok(())
}
