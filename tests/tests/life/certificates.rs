//! Certificates that are issued, renewed and revoked by the cluster, under load.

use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::cluster::{Kind, KnativeService};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, World, lively_cluster};

/// Lets something happen to the Secret of a service.
fn happen(world: &World, service: &KnativeService, what: &str) -> Result<()> {
    world.cluster.happen(Kind::Secret, NAMESPACE, &service.secret_name(), what)
}

async fn until_refused(world: &World, name: &str) -> Result<()> {
    eventually("a handshake is refused", async || {
        ensure(world.handshake(name).await.is_err(), || "it succeeds".to_owned())
    })
    .await
}

/// Waits for a handshake with another certificate than this one.
async fn until_other(world: &World, name: &str, serial: u64) -> Result<u64> {
    eventually("a handshake with another certificate", async || {
        let now = world.handshake(name).await?.serial;
        ensure(now != serial, || format!("it is {now}"))?;
        Ok(now)
    })
    .await
}

#[tokio::test]
async fn a_certificate_is_served_from_its_issue_to_its_revocation_and_again() -> Result<()> {
    let backend = Backend::http1("pod").await?;
    let service = KnativeService::new(NAMESPACE, "cart").endpoint(backend.address());
    let cluster = lively_cluster("").await?;
    let host = service.external_host();
    cluster.apply_many(service.objects_before_certificate())?;
    cluster.apply(service.endpoint_slice())?;
    let world = World::of(cluster, &Options::default()).await?;
    let mut serial = until_other(&world, &host, 0).await?;
    let load = Load::start(
        &world,
        [
            (Call::get(&format!("https://{host}/")), Habit::ConnectAnew),
            (Call::get(&format!("https://{host}/")).http2(), Habit::KeepAlive),
        ],
    );
    for _ in 0..3 {
        load.goes_on(2).await?;
        happen(&world, &service, "renew")?;
        serial = until_other(&world, &host, serial).await?;
    }
    load.goes_on(2).await?;
    load.end().await?;
    happen(&world, &service, "revoke")?;
    until_refused(&world, &host).await?;
    assert!(world.handshake(&host).await.is_err(), "a revoked certificate came back");
    let again = world.cluster.ca().issue(&[&host])?;
    world.cluster.apply(service.secret_with(&again))?;
    assert_eq!(until_other(&world, &host, serial).await?, again.serial);
    Ok(())
}
