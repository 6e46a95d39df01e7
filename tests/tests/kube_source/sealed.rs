//! Certificates that have left the cache while the API server is away.

use std::fs;
use std::path::Path;

use postern_tests::cluster::{Fault, Kind, KnativeService, Rule, Silence, Verb};
use postern_tests::gateway::Metrics;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::gateway::World;

/// A gateway whose cache holds no certificate for long.
async fn world(folder: &Path) -> Result<World> {
    let sealed = |options: postern_tests::gateway::Options| {
        options.cert_cache("1KiB").argument("--sealed-dir").argument(folder.join("sealed"))
    };
    World::start_with("system:admin", sealed).await
}

/// Waits until so many copies are written.
async fn until_written(world: &World, copies: f64) -> Result<Metrics> {
    eventually("the copies are written", async || {
        let metrics = world.gateway.metrics().await?;
        let written = metrics.sum_where("postern_certstore_sealed_writes_total", "written");
        ensure(written >= copies, || format!("{written} are"))?;
        Ok(metrics)
    })
    .await
}

#[tokio::test]
async fn what_was_evicted_is_served_while_the_api_server_is_away_and_the_metrics_say_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = world(folder.path()).await?;
    let others: Vec<_> = (0..3).map(|number| KnativeService::new("shop", &format!("other{number}"))).collect();
    for other in &others {
        world.cluster.apply_many(other.objects(world.cluster.ca())?)?;
    }
    let mut serials = Vec::new();
    for other in &others {
        let serial = eventually("it is known", async || world.serial_of(&other.external_host()).await).await?;
        serials.push(serial);
    }
    let metrics = until_written(&world, 3.0).await?;
    assert_eq!(metrics.sum("postern_certstore_entries").to_string(), "0", "all have left the cache");
    assert_eq!(metrics.sum("postern_certstore_sealed_entries").to_string(), "3");
    for silence in [Silence::Refusing, Silence::Stalled] {
        world.cluster.silence(silence);
        for (other, serial) in others.iter().zip(&serials) {
            assert_eq!(world.serial_of(&other.external_host()).await?, *serial, "{silence:?}");
        }
    }
    let metrics = world.gateway.metrics().await?;
    assert_eq!(metrics.sum_where("postern_certstore_sealed_reads_total", "served").to_string(), "6");
    world.until_logged(&["the source of secrets does not answer", "sealed copies"]).await?;
    assert!(world.serial().await.is_err(), "nobody had asked for this one");

    world.cluster.silence(Silence::Answering);
    let renewed = &others[0];
    world.cluster.apply_many(renewed.objects(world.cluster.ca())?)?;
    eventually("the renewed certificate is served", async || {
        ensure(world.serial_of(&renewed.external_host()).await? != serials[0], || "still the old one".to_owned())
    })
    .await?;
    world.until_logged(&["the source of secrets answers again"]).await
}

#[tokio::test]
async fn no_copy_is_served_once_the_secret_may_not_be_read_or_is_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = world(folder.path()).await?;
    world.assert_served().await?;
    until_written(&world, 1.0).await?;
    let forbidden = Fault::Status { code: 403, retry_after_seconds: None };
    let rule = world.cluster.faults().add(Rule::on(Verb::Get, Kind::Secret, forbidden));
    world.serial().await.map_err(|error| format!("a denial that has just begun counts: {error}"))?;
    eventually("the denial counts", async || ensure(world.serial().await.is_err(), || "it is served".to_owned()))
        .await?;
    world.cluster.faults().remove(rule);

    let secret = world.service.secret_name();
    eventually("it is served again", async || world.serial().await).await?;
    until_written(&world, 2.0).await?;
    world.cluster.delete(Kind::Secret, "shop", &secret);
    eventually("the copy is gone", async || {
        let copies = world.gateway.metrics().await?.sum("postern_certstore_sealed_entries");
        ensure(copies == 0.0, || format!("{copies} copies"))
    })
    .await?;
    world.cluster.silence(Silence::Refusing);
    assert!(world.serial().await.is_err());
    Ok(())
}

#[tokio::test]
async fn no_file_holds_a_key_or_a_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = world(folder.path()).await?;
    world.assert_served().await?;
    until_written(&world, 1.0).await?;
    let files: Vec<_> = fs::read_dir(folder.path().join("sealed"))?.collect::<std::io::Result<_>>()?;
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().to_string_lossy().into_owned();
    assert!(!name.contains("cart") && name.ends_with(".sealed"), "{name}");
    let bytes = fs::read(files[0].path())?;
    for plain in ["PRIVATE KEY", "CERTIFICATE", "cart", "-----"] {
        assert!(!bytes.windows(plain.len()).any(|window| window == plain.as_bytes()), "{plain}");
    }
    Ok(())
}
