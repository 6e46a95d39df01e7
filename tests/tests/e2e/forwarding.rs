//! What the gateway adds to a request, and what it keeps to itself.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::gateway::Options;

use crate::world::{Scene, World};

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    Ok((scene.open().await?, backend))
}

#[tokio::test]
async fn the_backend_learns_client_scheme_and_host() -> Result<()> {
    let (world, _backend) = world().await?;
    for scheme in ["http", "https"] {
        let call = Call::get(&format!("{scheme}://shop.test/"));
        for call in [call.clone(), call.http2()] {
            let seen = world.send(&call).await?.seen()?;
            assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"), "{seen:?}");
            assert_eq!(seen.header("x-forwarded-proto"), Some(scheme), "{seen:?}");
            assert_eq!(seen.header("x-forwarded-host"), Some("shop.test"), "{seen:?}");
        }
    }
    Ok(())
}

/// A request that claims to have come by another proxy.
fn claiming() -> Call {
    Call::get("https://shop.test/")
        .header("X-Forwarded-Proto", "http")
        .header("X-Forwarded-Host", "front.test")
        .header("X-Forwarded-For", "6.6.6.6")
}

#[tokio::test]
async fn what_a_client_claims_is_replaced() -> Result<()> {
    let (world, _backend) = world().await?;
    let seen = world.send(&claiming()).await?.seen()?;
    let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen.header(name));
    assert_eq!(told, [Some("127.0.0.1"), Some("https"), Some("shop.test")]);
    Ok(())
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_added_to() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open_with(Options::default().argument("--trusted-proxies").argument("127.0.0.0/8")).await?;
    let seen = world.send(&claiming()).await?.seen()?;
    let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen.header(name));
    assert_eq!(told, [Some("6.6.6.6, 127.0.0.1"), Some("http"), Some("front.test")]);
    Ok(())
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() -> Result<()> {
    let (world, _backend) = world().await?;
    let (first, second) = (world.seen("https://shop.test/").await?, world.seen("https://shop.test/").await?);
    let id = first.header("x-request-id").ok_or("no request id")?;
    assert!(id.len() >= 16, "{id}");
    assert_ne!(Some(id), second.header("x-request-id"));
    Ok(())
}

#[tokio::test]
async fn hop_by_hop_fields_end_at_the_gateway() -> Result<()> {
    let (world, _backend) = world().await?;
    let call = Call::get("http://shop.test/")
        .header("Connection", "x-private, keep-alive")
        .header("X-Private", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("X-Public", "1");
    let seen = world.send(&call).await?.seen()?;
    for name in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(seen.count(name), 0, "{name}: {seen:?}");
    }
    assert_eq!(seen.header("x-public"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn headers_of_the_answer_arrive() -> Result<()> {
    let (world, _backend) = world().await?;
    for call in [Call::get("https://shop.test/"), Call::get("https://shop.test/").http2()] {
        assert_eq!(world.send(&call).await?.header("x-backend"), Some("shop"));
    }
    Ok(())
}
