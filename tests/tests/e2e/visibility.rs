//! Who may reach what: listeners, and the way from HTTP to HTTPS.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::client::hello::{UNRECOGNIZED_NAME, greet};
use postern_tests::gateway::Options;
use postern_tests::manifests::{PathRule, Rule};

use crate::world::{Scene, World};

/// One KIngress with an external and a cluster-local host, both with certificates.
async fn world(http_option: &str) -> Result<(World, Backend)> {
    world_with(http_option, Options::default()).await
}

async fn world_with(http_option: &str, options: Options) -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("one").await?;
    scene.service("one", &[&backend])?;
    scene.certificate("outer", &["shop.test"])?;
    scene.certificate("inner", &["shop.ns.svc"])?;
    scene.kingress("shop", |kingress| {
        kingress
            .http_option(http_option)
            .tls(&["shop.test"], "outer")
            .tls(&["shop.ns.svc"], "inner")
            .rule(Rule::external(&["shop.test"]).path(PathRule::to("one")))
            .rule(Rule::cluster_local(&["shop.ns.svc"]).path(PathRule::to("one")))
    })?;
    Ok((scene.open_with(options).await?, backend))
}

#[tokio::test]
async fn a_cluster_local_host_is_served_inside_only() -> Result<()> {
    let (world, _backend) = world("Enabled").await?;
    let call = Call::get("http://shop.ns.svc/");
    for (listener, status) in [("external-http", 404), ("probe-http", 404), ("internal-http", 200)] {
        assert_eq!(world.send(&call.clone().on(listener)).await?.status, status, "{listener}");
    }
    assert_eq!(world.send(&Call::get("https://shop.ns.svc/").on("internal-https")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_external_host_is_served_on_all_listeners() -> Result<()> {
    let (world, _backend) = world("Enabled").await?;
    for listener in ["external-http", "internal-http", "probe-http"] {
        assert_eq!(world.send(&Call::get("http://shop.test/").on(listener)).await?.status, 200, "{listener}");
    }
    for listener in ["external-https", "probe-https"] {
        assert_eq!(world.send(&Call::get("https://shop.test/").on(listener)).await?.status, 200, "{listener}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_local_name_has_no_certificate_outside() -> Result<()> {
    let (world, _backend) = world("Enabled").await?;
    let address = world.gateway.address("external-https")?;
    assert_eq!(greet(address, Some(b"shop.ns.svc")).await?, UNRECOGNIZED_NAME);
    Ok(())
}

#[tokio::test]
async fn a_cluster_local_host_is_not_found_over_an_external_connection() -> Result<()> {
    let (world, _backend) = world("Enabled").await?;
    let call = Call::get("https://shop.ns.svc/").server_name("shop.test");
    let status = world.send(&call).await?.status;
    assert!(matches!(status, 404 | 421), "answered {status}");
    Ok(())
}

#[tokio::test]
async fn plain_requests_are_redirected_where_that_is_asked_for() -> Result<()> {
    let (world, backend) = world("Redirected").await?;
    let reply = world.send(&Call::get("http://shop.test/cart?x=1&y=%20")).await?;
    assert_eq!((reply.status, reply.header("location")), (301, Some("https://shop.test/cart?x=1&y=%20")));
    assert_eq!(backend.requests(), 0);
    assert_eq!(world.status("https://shop.test/cart").await?, 200);
    Ok(())
}

/// Where a balancer in front ends TLS and sends plain HTTP, a redirect would come back for ever.
#[tokio::test]
async fn redirects_can_be_switched_off_by_a_setting_and_by_kouriers_variable() -> Result<()> {
    for options in [
        Options::default().argument("--https-redirect=off"),
        Options::default().variable("KOURIER_HTTPOPTION_DISABLED", "true"),
    ] {
        let (world, _backend) = world_with("Redirected", options).await?;
        assert_eq!(world.status("http://shop.test/cart").await?, 200);
        assert_eq!(world.status("https://shop.test/cart").await?, 200);
    }
    Ok(())
}

#[tokio::test]
async fn cluster_local_hosts_are_never_redirected() -> Result<()> {
    let (world, _backend) = world("Redirected").await?;
    assert_eq!(world.send(&Call::get("http://shop.ns.svc/").on("internal-http")).await?.status, 200);
    Ok(())
}
