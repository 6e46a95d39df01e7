//! Where Ingresses are said to be reached.

use postern_tests::cluster::Kind;
use postern_tests::manifests::Ingress;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{World, a_while, public_service};

fn web(class: &str) -> Value {
    Ingress::new("shop", "web").class(class).rule(Some("web.test"), &[("Prefix", "/", "cart-00001")]).object()
}

fn addresses(world: &World) -> Value {
    world.cluster.get(Kind::Ingress, "shop", "web").unwrap_or_default()["status"]["loadBalancer"]["ingress"].clone()
}

async fn reached_at(world: &World, expected: &Value) -> Result<()> {
    eventually("the addresses are told", async || {
        ensure(addresses(world) == *expected, || addresses(world).to_string())
    })
    .await
}

#[tokio::test]
async fn an_ingress_shows_the_addresses_of_the_public_service_and_follows_them() -> Result<()> {
    let world = World::new().await?;
    world.cluster.apply(web("postern"))?;
    let _gateway = world.gateway("one", &[]).await?;
    reached_at(&world, &json!([{"ip": "192.0.2.1"}])).await?;
    world.cluster.apply(public_service(&json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}])))?;
    reached_at(&world, &json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}])).await
}

#[tokio::test]
async fn it_shows_the_addresses_that_are_given() -> Result<()> {
    let world = World::new().await?;
    let _gateway = world.gateway("one", &["--publish-status-address=203.0.113.7"]).await?;
    world.cluster.apply(web("postern"))?;
    reached_at(&world, &json!([{"ip": "203.0.113.7"}])).await
}

#[tokio::test]
async fn an_ingress_of_another_class_stays_as_it_is() -> Result<()> {
    let world = World::new().await?;
    world.cluster.apply(web("another"))?;
    let before = world.cluster.get(Kind::Ingress, "shop", "web");
    let _gateway = world.gateway("one", &[]).await?;
    world.ready("cart").await?;
    a_while().await;
    assert_eq!(world.cluster.get(Kind::Ingress, "shop", "web"), before);
    Ok(())
}
