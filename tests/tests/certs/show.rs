//! What a server name leads to.

use postern_tests::Result;
use postern_tests::manifests::{Ingress, secret_of};
use serde_json::Value;

use crate::world::{NAMESPACE, World, site};

#[tokio::test]
async fn a_name_is_shown_before_and_after_its_certificate_is_loaded() -> Result<()> {
    let world = World::open(1).await?;
    let shown = world.json(&["show", "S0.test."]).await?;
    assert_eq!((&shown["state"], &shown["secret"]), (&"not cached".into(), &"shop/s0.test".into()));
    assert_eq!((&shown["match"], &shown["certificate"]), (&"exact".into(), &Value::Null));
    world.handshake("s0.test").await?;
    let shown = world.json(&["show", "s0.test"]).await?;
    assert_eq!((&shown["state"], &shown["certificate"]["secret"]), (&"cached".into(), &"shop/s0.test".into()));
    let printed = world.certs(&["show", "s0.test"]).await?.out;
    assert!(printed.contains("s0.test (exact)") && printed.contains("external"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_wildcard_is_told_from_an_exact_name() -> Result<()> {
    let world = World::open(0).await?;
    let hosts = ["*.wild.test", "exact.wild.test"];
    for host in hosts {
        let issued = world.ca.issue(&[host])?;
        let name = if host.starts_with('*') { "all" } else { "one" };
        world.manifests.write(&format!("{name}.yaml"), &[secret_of(NAMESPACE, name, &issued.chain, &issued.key)])?;
    }
    site(&world.manifests, "exact.wild.test", "one")?;
    let wild = Ingress::new(NAMESPACE, "wild").tls(&["*.wild.test"], "all");
    let wild = wild.rule(Some("*.wild.test"), &[("Prefix", "/", "site")]);
    world.manifests.write("wild.yaml", &[wild.object()])?;
    let of = async |host: &str| -> Result<(Value, Value, Value)> {
        let shown = world.json(&["show", host]).await?;
        Ok((shown["match"].clone(), shown["pattern"].clone(), shown["secret"].clone()))
    };
    postern_tests::patience::eventually("both are bound", async || {
        of("a.wild.test").await?;
        of("exact.wild.test").await
    })
    .await?;
    assert_eq!(of("a.wild.test").await?, ("wildcard".into(), "*.wild.test".into(), "shop/all".into()));
    assert_eq!(of("exact.wild.test").await?, ("exact".into(), "exact.wild.test".into(), "shop/one".into()));
    Ok(())
}

#[tokio::test]
async fn a_secret_that_cannot_be_served_is_shown_with_the_reason_and_when_it_is_tried_again() -> Result<()> {
    let world = World::open(1).await?;
    let other = world.ca.issue(&["broken.test"])?;
    let broken = secret_of(NAMESPACE, "broken", &other.chain, &world.keys[0].key);
    world.manifests.write("broken.yaml", &[broken])?;
    site(&world.manifests, "broken.test", "broken")?;
    let shown = postern_tests::patience::eventually("it is refused", async || {
        postern_tests::ensure(world.handshake("broken.test").await.is_err(), || "it is served".to_owned())?;
        let shown = world.json(&["show", "broken.test"]).await?;
        postern_tests::ensure(shown["state"] == "refused", || shown.to_string())?;
        Ok(shown)
    })
    .await?;
    let refusal = &shown["refusal"];
    assert!(
        refusal["reason"].as_str().is_some_and(|reason| reason.contains("does not match the first certificate")),
        "{shown}"
    );
    assert!(refusal["failures"].as_u64() >= Some(1) && refusal["retryInSeconds"].is_number(), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_name_that_nobody_configured_is_not_found() -> Result<()> {
    let world = World::open(1).await?;
    let printed = world.certs(&["show", "nobody.test"]).await?;
    assert_eq!(printed.code, Some(1), "{printed:?}");
    assert!(printed.out.contains("no certificate is configured for this name"), "{printed:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_server_name_is_refused_before_the_gateway_is_asked() -> Result<()> {
    for (host, says) in
        [("a b", "label"), ("a/b?x", "label"), ("shop.test:443", "a port"), ("https://shop.test/", "a URL")]
    {
        let printed = crate::world::certs(&["--admin", "127.0.0.1:1", "show", host]).await?;
        assert_eq!(printed.code, Some(64), "{host}: {printed:?}");
        assert!(printed.err.contains(says) && printed.err.contains(host), "{host}: {printed:?}");
    }
    Ok(())
}
