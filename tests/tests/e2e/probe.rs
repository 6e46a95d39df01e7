//! The contract with Knative's prober: the hash of the KIngress, on request.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::manifests::{PathRule, Rule, Split};

use crate::world::{Scene, World};

/// SHA-256 of the JSON of the spec below, then `shop`, then `probed`, as knative.dev/networking computes it.
const HASH: &str = "df17279189127a887d8c8e886d7e871df8af9d29baa9eae63b4ef75c29a0e56b";

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("one").await?;
    scene.service("one", &[&backend])?;
    let split = Split::new("one", 100).append_header("X-Tag", "<a&b>");
    scene.kingress("probed", |kingress| {
        kingress.rule(Rule::external(&["shop.test"]).path(PathRule::prefix("/a").split(split)))
    })?;
    Ok((scene.open().await?, backend))
}

#[tokio::test]
async fn an_override_brings_the_hash_to_the_backend() -> Result<()> {
    let (world, _backend) = world().await?;
    for listener in ["external-http", "internal-http", "probe-http"] {
        let call = Call::get("http://shop.test/a").on(listener).header("K-Network-Hash", "override");
        let seen = world.send(&call).await?.seen()?;
        assert_eq!(seen.header("k-network-hash"), Some(HASH), "{listener}");
    }
    Ok(())
}

#[tokio::test]
async fn a_probe_is_answered_whether_or_not_there_is_a_backend() -> Result<()> {
    let (world, backend) = world().await?;
    drop(backend);
    for listener in ["external-http", "internal-http", "probe-http"] {
        let call = Call::get("http://shop.test/a").on(listener).header("K-Network-Hash", "override");
        let reply = world.send(&call.header("K-Network-Probe", "probe")).await?;
        assert_eq!((reply.status, reply.header("k-network-hash")), (200, Some(HASH)), "{listener}");
    }
    Ok(())
}

#[tokio::test]
async fn any_other_value_passes_untouched() -> Result<()> {
    let (world, _backend) = world().await?;
    let call = Call::get("http://shop.test/a");
    assert_eq!(world.send(&call).await?.seen()?.count("k-network-hash"), 0);
    let seen = world.send(&call.header("K-Network-Hash", "abc")).await?.seen()?;
    assert_eq!(seen.header("k-network-hash"), Some("abc"));
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_not_served_has_no_hash() -> Result<()> {
    let (world, _backend) = world().await?;
    let call = Call::get("http://shop.test/healthz").header("K-Network-Hash", "override");
    assert_eq!(world.send(&call).await?.status, 404);
    Ok(())
}
