//! Events for rejected objects.

use postern_tests::client::TlsClient;
use postern_tests::cluster::{Kind, Verb};
use postern_tests::manifests::{Ingress, secret_of};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{World, a_while};

#[tokio::test]
async fn an_ingress_whose_secret_cannot_be_served_gets_an_event() -> Result<()> {
    let world = World::new().await?;
    let ingress = Ingress::new("shop", "plain").class("postern").tls(&["plain.test"], "plain");
    world.cluster.apply(ingress.rule(Some("plain.test"), &[("Prefix", "/", "cart-00001")]).object())?;
    world.cluster.apply(secret_of("shop", "plain", "no certificate", "no key"))?;
    let gateway = world.gateway("one", &[]).await?;
    let tls = TlsClient::new(world.cluster.ca())?;
    let served = tls.handshake(gateway.address("external-https")?, Some("plain.test")).await;
    assert!(served.is_err());
    eventually("the event is there", async || {
        ensure(world.cluster.count(Kind::Event) == 1, || format!("{} events", world.cluster.count(Kind::Event)))
    })
    .await
}

#[tokio::test]
async fn a_rejected_ingress_gets_one_event_that_says_why() -> Result<()> {
    let world = World::new().await?;
    let wrong =
        Ingress::new("shop", "wrong").class("postern").rule(Some("wrong.test"), &[("Prefix", "no-path", "cart-00001")]);
    world.cluster.apply(wrong.object())?;
    let gateway = world.gateway("one", &[]).await?;
    let created = || world.cluster.requests().count(Verb::Create, Kind::Event);
    eventually("the event is there", async || {
        ensure(world.cluster.count(Kind::Event) == 1, || format!("{} events", world.cluster.count(Kind::Event)))
    })
    .await?;
    let name = world.cluster.requests().recent().into_iter().rfind(|request| request.verb == Verb::Create);
    assert_eq!(name.and_then(|request| request.namespace.clone()).as_deref(), Some("shop"));
    assert_eq!(created(), 1);
    drop(gateway);
    let _again = world.gateway("one", &[]).await?;
    eventually("it is told again after a restart", async || ensure(created() == 2, || created().to_string())).await?;
    a_while().await;
    assert_eq!(world.cluster.count(Kind::Event), 1, "and the server has it already");
    Ok(())
}
