//! Several gateways: one of them writes.

use postern_tests::client::{Call, TlsClient};
use postern_tests::gateway::Gateway;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{World, a_while};

/// Waits until the Lease is held by this pod.
async fn leads(world: &World, pod: &str) -> Result<()> {
    eventually(&format!("{pod} leads"), async || ensure(world.holder() == pod, || world.holder())).await
}

/// Two gateways, of which the first leads.
async fn two(world: &World) -> Result<(Gateway, Gateway)> {
    let first = world.gateway("one", &[]).await?;
    leads(world, "one").await?;
    Ok((first, world.gateway("two", &[]).await?))
}

async fn is_leader(gateway: &Gateway) -> Result<bool> {
    Ok(gateway.metrics().await?.sum("postern_status_is_leader") > 0.5)
}

#[tokio::test]
async fn one_of_two_writes() -> Result<()> {
    let world = World::new().await?;
    let (first, second) = two(&world).await?;
    world.ready("cart").await?;
    for _ in 0..5 {
        world.change()?;
        world.ready("cart").await?;
    }
    assert!(is_leader(&first).await? && !is_leader(&second).await?);
    assert_eq!(world.patches(), 6, "one for each generation");
    assert!(second.metrics().await?.sum("postern_status_writes_total") < 0.5);
    Ok(())
}

#[tokio::test]
async fn when_the_one_is_killed_the_other_goes_on_with_what_differs_alone() -> Result<()> {
    let world = World::new().await?;
    let (first, second) = two(&world).await?;
    world.ready("cart").await?;
    let patches = world.patches();
    drop(first);
    world.change()?;
    leads(&world, "two").await?;
    world.ready("cart").await?;
    a_while().await;
    assert_eq!(world.patches(), patches + 1);
    assert!(is_leader(&second).await?);
    Ok(())
}

#[tokio::test]
async fn who_drains_gives_the_lease_up_at_once() -> Result<()> {
    let world = World::new().await?;
    let (mut first, _second) = two(&world).await?;
    first.terminate()?;
    eventually("the other one leads", async || ensure(world.holder() == "two", || world.holder())).await?;
    assert!(first.log().has_line_with(&["gave up the lease"]), "{}", first.log().text());
    assert!(first.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn traffic_does_not_notice_that_the_lease_is_lost() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    world.cluster.hold_lease(crate::world::NAMESPACE, "postern", "another", 3600)?;
    eventually("it has stopped", async || ensure(!is_leader(&gateway).await?, || "still the leader".to_owned()))
        .await?;
    let call = Call::get(&format!("https://{}/", world.service.external_host()));
    assert_eq!(call.send(&gateway, &TlsClient::new(world.cluster.ca())?).await?.status, 200);
    Ok(())
}
