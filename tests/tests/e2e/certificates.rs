//! Certificates while the gateway runs: loaded once, when asked for; evicted, rotated, removed.

use std::sync::Arc;

use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use postern_tests::backend::Backend;
use postern_tests::client::websocket::WebSocket;
use postern_tests::client::{Call, get_plain, hello};
use postern_tests::gateway::Options;
use postern_tests::manifests::{secret, secret_of};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{NAMESPACE, Scene, World, postern};

const LOADS: &str = "postern_certstore_loads_total";
const SOONEST_EXPIRY: &str = "postern_certstore_soonest_expiry_timestamp_seconds";

/// The end of what expires at 2001-12-31T00:00:00Z, in Unix time.
const END_OF_2001: f64 = 1_009_756_800.0;

async fn world() -> Result<(World, Backend, u64)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let serial = scene.site("shop.test", &backend)?.serial;
    Ok((scene.open().await?, backend, serial))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_first_handshakes_load_a_certificate_once() -> Result<()> {
    let (world, _backend, serial) = world().await?;
    assert!(world.gateway.metrics().await?.sum(LOADS).abs() < f64::EPSILON, "loaded before anybody asked");
    let world = Arc::new(world);
    let handshakes = (0..200).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.handshake("shop.test").await })
    });
    for peer in try_join_all(handshakes).await? {
        assert_eq!(peer?.serial, serial);
    }
    let metrics = world.gateway.metrics().await?;
    assert!((metrics.sum(LOADS) - 1.0).abs() < f64::EPSILON, "loads: {}", metrics.sum(LOADS));
    Ok(())
}

#[tokio::test]
async fn all_names_work_under_a_budget_for_a_few() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let hosts: Vec<String> = (0..60).map(|number| format!("shop{number}.test")).collect();
    let mut serials = Vec::new();
    for host in &hosts {
        serials.push(scene.site(host, &backend)?.serial);
    }
    let world = scene.open_with(Options::default().cert_cache("32KiB")).await?;
    for _round in 0..2 {
        for (host, serial) in hosts.iter().zip(&serials) {
            assert_eq!(world.handshake(host).await?.serial, *serial);
        }
    }
    eventually("the cache is within its budget", async || {
        let metrics = world.gateway.metrics().await?;
        metrics.require("postern_certstore_evictions_total")?;
        let (bytes, budget) = (metrics.sum("postern_certstore_bytes"), metrics.sum("postern_certstore_budget_bytes"));
        let evictions = metrics.sum("postern_certstore_evictions_total");
        ensure(bytes <= budget && evictions > 0.0, || format!("{bytes} of {budget} bytes, {evictions} evictions"))
    })
    .await
}

#[tokio::test]
async fn a_rotation_reaches_new_handshakes_and_leaves_connections_alone() -> Result<()> {
    let (world, backend, _) = world().await?;
    let address = world.gateway.address("external-https")?;
    let (stream, _) = world.scene.tls.alpn(&["http/1.1"]).connect(address, Some("shop.test")).await?;
    let mut socket = WebSocket::open(stream, "ws://shop.test/chat").await?;
    let mut download = Call::get("https://shop.test/-/parts/4").http2().open(&world.gateway, &world.scene.tls).await?;
    backend.permit(1);
    let first = download.frame().await.ok_or("the download ended")??;
    let mut received = first.data_ref().map_or(0, bytes::Bytes::len);

    let renewed = world.scene.certificate("shop.test", &["shop.test"])?;
    world.until_serial("shop.test", renewed.serial).await?;

    socket.echo("still here").await?;
    backend.permit(3);
    received += download.collect().await?.to_bytes().len();
    assert_eq!(received, 4 * 1_024);
    Ok(())
}

#[tokio::test]
async fn a_rotation_in_place_is_seen_too() -> Result<()> {
    let (world, _backend, _) = world().await?;
    world.handshake("shop.test").await?;
    let renewed = world.scene.ca.issue(&["shop.test"])?;
    let text = postern_tests::manifests::to_yaml(&[secret(NAMESPACE, "shop.test", &renewed)])?;
    world.scene.manifests.write_in_place("secret-shop.test.yaml", &text)?;
    world.until_serial("shop.test", renewed.serial).await
}

#[tokio::test]
async fn a_bad_rotation_keeps_the_certificate_and_says_so() -> Result<()> {
    let (world, _backend, serial) = world().await?;
    world.handshake("shop.test").await?;
    let (one, other) = (world.scene.ca.issue(&["shop.test"])?, world.scene.ca.issue(&["shop.test"])?);
    world.scene.write("secret-shop.test", &[secret_of(NAMESPACE, "shop.test", &one.chain, &other.key)])?;
    world.until_logged(&["shop/shop.test", "does not match"]).await?;
    assert_eq!(world.handshake("shop.test").await?.serial, serial);

    let renewed = world.scene.certificate("shop.test", &["shop.test"])?;
    world.until_serial("shop.test", renewed.serial).await
}

/// What the admin listener answers at `path`.
async fn admin(world: &World, path: &str) -> Result<String> {
    Ok(get_plain(world.gateway.address("admin")?, path).await?.text())
}

#[tokio::test]
async fn a_refused_secret_is_a_fault_until_it_heals() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let (one, other) = (scene.ca.issue(&["shop.test"])?, scene.ca.issue(&["shop.test"])?);
    scene.write("secret-shop.test", &[secret_of(NAMESPACE, "shop.test", &one.chain, &other.key)])?;
    let world = scene.open().await?;
    assert!(world.handshake("shop.test").await.is_err());
    eventually("the fault is told", async || {
        let faults = admin(&world, "/api/v1/faults").await?;
        let says = ["\"Secret shop/shop.test\"", "\"KIngress shop/shop.test\"", "does not match", "\"error\""];
        ensure(says.iter().all(|text| faults.contains(text)), || faults)
    })
    .await?;
    let page = admin(&world, "/").await?;
    assert!(page.contains("Faults (2)") && page.contains("Secret shop/shop.test"), "{page}");
    assert!(world.gateway.metrics().await?.sum("postern_certstore_faulty_secrets") > 0.5);
    let secrets = admin(&world, "/api/v1/secrets/faults").await?;
    assert!(secrets.contains("\"reason\": \"key_mismatch\"") && secrets.contains("\"nothing\""), "{secrets}");

    // It heals without anybody asking for it.
    world.scene.certificate("shop.test", &["shop.test"])?;
    eventually("the fault is over", async || {
        let faults = admin(&world, "/api/v1/faults").await?;
        ensure(faults.trim() == "[]", || faults)
    })
    .await?;
    assert!(world.gateway.metrics().await?.sum("postern_certstore_faulty_secrets") < 0.5);
    Ok(())
}

#[tokio::test]
async fn a_bad_rotation_is_a_fault_and_tells_what_is_served() -> Result<()> {
    let (world, _backend, serial) = world().await?;
    world.handshake("shop.test").await?;
    let issued = world.scene.ca.issue(&["shop.test"])?;
    world.scene.write("secret-shop.test", &[secret_of(NAMESPACE, "shop.test", &issued.chain, "no key")])?;
    eventually("the fault is told", async || {
        let faults = admin(&world, "/api/v1/faults").await?;
        let says = ["tls.key holds 6 bytes that are no PEM", "the last good version"];
        ensure(says.iter().all(|text| faults.contains(text)), || faults)
    })
    .await?;
    assert_eq!(world.handshake("shop.test").await?.serial, serial);
    Ok(())
}

#[tokio::test]
async fn a_deleted_secret_refuses_handshakes_until_it_is_back() -> Result<()> {
    let (world, _backend, _) = world().await?;
    world.handshake("shop.test").await?;
    world.scene.manifests.remove("secret-shop.test.yaml")?;
    eventually("handshakes are refused", async || {
        ensure(world.handshake("shop.test").await.is_err(), || "one was answered".to_owned())
    })
    .await?;
    let back = world.scene.certificate("shop.test", &["shop.test"])?;
    world.until_serial("shop.test", back.serial).await
}

#[tokio::test]
async fn a_binding_that_moves_serves_the_new_secret() -> Result<()> {
    let (world, _backend, _) = world().await?;
    world.handshake("shop.test").await?;
    let other = world.scene.certificate("other", &["shop.test"])?;
    world.scene.kingress("shop.test", |kingress| {
        let rule = postern_tests::manifests::Rule::external(&["shop.test"]);
        kingress.tls(&["shop.test"], "other").rule(rule.path(postern_tests::manifests::PathRule::to("shop.test")))
    })?;
    world.until_serial("shop.test", other.serial).await
}

#[tokio::test]
async fn a_secret_that_two_hosts_share_is_loaded_once() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site_for("both", &["one.test", "two.test"], &backend)?;
    let world = scene.open().await?;
    assert_eq!(world.handshake("one.test").await?.serial, world.handshake("two.test").await?.serial);
    assert!((world.gateway.metrics().await?.sum(LOADS) - 1.0).abs() < f64::EPSILON);
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_name_is_served_and_reported() -> Result<()> {
    let (world, _backend, _) = world().await?;
    let strange = world.scene.certificate("shop.test", &["else.test"])?;
    let answer = postern_tests::client::hello::greet(world.gateway.address("external-https")?, Some(b"shop.test"));
    assert!(matches!(answer.await?, postern_tests::client::hello::Answer::Certificate(_)));
    world.until_logged(&["shop/shop.test", "cover"]).await?;
    assert!(strange.serial > 0);
    Ok(())
}

#[tokio::test]
async fn an_expired_certificate_is_served_and_reported_loudly() -> Result<()> {
    let (world, _backend, _) = world().await?;
    let expired = world.scene.ca.issue_expired(&["shop.test"])?;
    world.scene.write("secret-shop.test", &[secret(NAMESPACE, "shop.test", &expired)])?;
    let greet = async || hello::greet(world.gateway.address("external-https")?, Some(b"shop.test")).await;
    eventually("the expired certificate is served", async || {
        let answer = greet().await?;
        ensure(answer == hello::Answer::Certificate(expired.serial), || format!("{answer:?}"))
    })
    .await?;

    world.until_logged(&["WARN", "shop/shop.test", "expired"]).await?;
    eventually("the metrics tell of it", async || {
        let metrics = world.gateway.metrics().await?;
        let warned = metrics.sum_where("postern_certstore_warnings_total", "expired");
        let (now, soonest) = (metrics.sum("postern_certstore_expired_entries"), metrics.sum(SOONEST_EXPIRY));
        let is_told = warned >= 1.0 && (now - 1.0).abs() < f64::EPSILON && (soonest - END_OF_2001).abs() < 1.0;
        ensure(is_told, || format!("{warned} warnings, {now} entries, the first at {soonest}"))
    })
    .await?;
    let certificates = world.gateway.admin("/api/v1/certificates").await?;
    assert_eq!(certificates[0]["notAfter"], "2001-12-31T00:00:00Z", "{certificates}");

    let checked = postern().run(["check".as_ref(), world.scene.manifests.path().as_os_str()]).await?;
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.contains("EXPIRED") && text.contains("secret shop/shop.test: the certificate expired"), "{text}");

    let renewed = world.scene.certificate("shop.test", &["shop.test"])?;
    world.until_serial("shop.test", renewed.serial).await
}
