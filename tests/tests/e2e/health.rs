//! Health, metrics and what each port of them answers.

use std::net::SocketAddr;
use std::time::Duration;

use postern_tests::backend::Backend;
use postern_tests::client::{Call, get_plain};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::world::{Scene, World};

/// The kubelet's patience, or a little more.
const PROBE: Duration = Duration::from_secs(2);

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    Ok((scene.open().await?, backend))
}

#[tokio::test]
async fn a_running_gateway_is_live_and_ready() -> Result<()> {
    let (world, _backend) = world().await?;
    let metrics = world.gateway.address("metrics")?;
    assert_eq!(get_plain(metrics, "/livez").await?.status, 200);
    assert_eq!(get_plain(metrics, "/readyz").await?.status, 200);
    assert_eq!(get_plain(metrics, "/else").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn kouriers_readiness_is_answered_inside_only() -> Result<()> {
    let (world, backend) = world().await?;
    let call = Call::get("http://internalkourier/ready");
    assert_eq!(world.send(&call.clone().on("internal-http")).await?.status, 200);
    assert_eq!(world.send(&call).await?.status, 404);
    assert_eq!(backend.requests(), 0);
    Ok(())
}

#[tokio::test]
async fn the_promised_metrics_are_there_under_both_paths() -> Result<()> {
    let (world, _backend) = world().await?;
    assert_eq!(world.status("https://shop.test/").await?, 200);
    let metrics = world.gateway.metrics().await?;
    for name in ["entries", "bytes", "budget_bytes", "hits_total", "misses_total", "loads_total", "evictions_total"] {
        metrics.require(&format!("postern_certstore_{name}"))?;
    }
    metrics.require("postern_build_info")?;
    let kourier = get_plain(world.gateway.address("metrics")?, "/stats/prometheus").await?;
    ensure(kourier.text().contains("postern_certstore_entries"), || kourier.text())
}

#[tokio::test]
async fn hits_misses_and_entries_are_counted() -> Result<()> {
    let (world, _backend) = world().await?;
    for _ in 0..3 {
        world.handshake("shop.test").await?;
    }
    let metrics = world.gateway.metrics().await?;
    let counted = ["misses_total", "hits_total", "loads_total", "entries"]
        .map(|name| metrics.sum(&format!("postern_certstore_{name}")).to_string());
    assert_eq!(counted, ["1", "2", "1", "1"]);
    Ok(())
}

#[tokio::test]
async fn connections_handshakes_and_requests_are_counted_and_timed() -> Result<()> {
    let (world, _backend) = world().await?;
    assert_eq!(world.status("https://shop.test/").await?, 200);
    // A request is counted when its answer has been sent.
    eventually("one of each is counted", async || {
        let metrics = world.gateway.metrics().await?;
        let outside = r#"listener="external-https""#;
        let counted = [
            ("postern_listener_accepted_total", outside),
            ("postern_tls_handshakes_total", r#"outcome="ok""#),
            ("postern_tls_handshake_seconds_count", r#"outcome="ok""#),
            ("postern_requests_total", outside),
            ("postern_request_seconds_count", outside),
        ]
        .map(|(name, labels)| metrics.sum_where(name, labels).to_string());
        ensure(counted == ["1"; 5], || format!("{counted:?}"))
    })
    .await
}

#[tokio::test]
async fn a_listener_can_be_switched_off() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open_with(Options::default().argument("--listen").argument("probe-http=off")).await?;
    assert!(world.gateway.address("probe-http").is_err());
    assert!(world.gateway.address("probe-https").is_ok());
    assert_eq!(world.status("https://shop.test/").await?, 200);
    Ok(())
}

#[tokio::test]
async fn the_metrics_port_takes_no_orders() -> Result<()> {
    let (mut world, _backend) = world().await?;
    let address = world.gateway.address("metrics")?;
    let post = format!("POST /drain_listeners HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    let head = postern_tests::client::raw::exchange(address, post).await?;
    ensure(!matches!(head, postern_tests::client::raw::Head::Status(200..=299, _)), || format!("{head:?}"))?;
    assert_eq!(world.status("https://shop.test/").await?, 200);
    world.gateway.terminate()?;
    assert!(world.gateway.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_access_log_can_be_switched_off() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let mut world = scene.open_with(Options::default().argument("--access-log").argument("off")).await?;
    assert_eq!(world.status("https://shop.test/never-logged").await?, 200);
    world.gateway.terminate()?;
    world.gateway.ended().await?;
    assert!(!world.gateway.log().has_line_with(&["never-logged"]));
    Ok(())
}

#[tokio::test]
async fn the_access_log_says_who_asked_for_what() -> Result<()> {
    let (world, _backend) = world().await?;
    assert_eq!(world.status("https://shop.test/cart").await?, 200);
    world.until_logged(&["shop.test", "/cart", "200"]).await
}

#[tokio::test]
async fn pods_that_hold_connections_do_not_keep_the_kubelet_from_asking() -> Result<()> {
    let (world, _backend) = world().await?;
    let metrics = world.gateway.address("metrics")?;
    let mut held = Vec::new();
    for source in [[127, 0, 0, 2]; 80].into_iter().chain((3..40).map(|number| [127, 0, 0, number])) {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        let mut stream = socket.connect(metrics).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: metrics\r\n\r\n").await?;
        held.push(stream);
    }
    // An answer each, so that they are connected before the kubelet comes, unless they had to make room.
    for stream in &held {
        tokio::time::timeout(PROBE, stream.readable()).await.map_err(|_| "no answer")??;
    }
    for path in ["/livez", "/readyz"] {
        let asked = tokio::time::timeout(PROBE, get_plain(metrics, path)).await;
        assert_eq!(asked.map_err(|_| "the kubelet gets no answer")??.status, 200);
    }
    drop(held);
    Ok(())
}
