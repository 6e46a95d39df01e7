//! What the gateway adds to a request, and what it keeps to itself.

use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::json;

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

/// The addresses that a request is said to have come by.
const CHAIN: &str = "203.0.113.7, 203.0.113.8, 203.0.113.9";

impl World {
    fn configure_hops(&self, count: &str, use_remote_address: &str) -> Result<()> {
        let data = json!({"trusted-hops-count": count, "use-remote-address": use_remote_address});
        let metadata = json!({"namespace": "knative-serving", "name": "config-kourier"});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        self.scene.write("config-kourier", &[map])
    }

    /// Waits until the backend is told this chain and scheme of a request that came by [`CHAIN`] and https.
    async fn until_told(&self, path: &str, chain: &str, scheme: &str) -> Result<()> {
        let call = Call::get(&format!("http://shop.test{path}"));
        let call = call.header("X-Forwarded-For", CHAIN).header("X-Forwarded-Proto", "https");
        eventually(&format!("the chain is {chain} by {scheme}"), async || {
            let seen = self.send(&call).await?.seen()?;
            let told = ["x-forwarded-for", "x-forwarded-proto"].map(|name| seen.header(name));
            ensure(told == [Some(chain), Some(scheme)], || format!("{told:?}"))
        })
        .await
    }
}

#[tokio::test]
async fn kouriers_hops_say_who_the_client_is_and_change_while_the_gateway_runs() -> Result<()> {
    let (world, _backend) = world().await?;
    let appended = &*format!("{CHAIN}, 127.0.0.1");
    for (count, remote, chain, scheme, client) in [
        ("0", "true", appended, "http", r#""client":"127.0.0.1:"#),
        ("1", "true", appended, "https", r#""client":"203.0.113.9""#),
        ("1", "false", CHAIN, "https", r#""client":"203.0.113.8""#),
        ("3", "true", appended, "https", r#""client":"203.0.113.7""#),
        ("0", "false", "127.0.0.1", "http", r#""client":"127.0.0.1:"#),
    ] {
        let path = format!("/hops-{count}-{remote}");
        world.configure_hops(count, remote)?;
        world.until_told(&path, chain, scheme).await?;
        world.until_logged(&[&path, client]).await?;
        let peer = r#""peer":"127.0.0.1:"#;
        assert_eq!(world.gateway.log().has_line_with(&[&path, client, peer]), count != "0", "{count} {remote}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_number_of_hops_is_a_fault_and_the_last_good_one_stays() -> Result<()> {
    let (world, _backend) = world().await?;
    world.configure_hops("2", "true")?;
    eventually("two hops count", async || {
        let now = world.gateway.setting("trusted-hops-count").await?;
        ensure(now["values"] == json!(["2"]), || now.to_string())
    })
    .await?;
    world.configure_hops("two", "true")?;
    let says =
        ["knative-serving/config-kourier", "data.trusted-hops-count", "two", "write a whole number", "stays in effect"];
    world.until_logged(&says).await?;
    assert_eq!(world.gateway.setting("trusted-hops-count").await?["values"], json!(["2"]));
    Ok(())
}
