//! The end of a gateway: not ready any more, every request answered, exit code 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;
use postern_tests::backend::Backend;
use postern_tests::client::{Call, Connection, Reply, get_plain};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{Scene, World};

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    Ok((scene.open().await?, backend))
}

/// Requests one after the other until the gateway says that it won't take another on this connection.
async fn until_told_to_stop(mut connection: Connection, call: Call, answered: Arc<AtomicU64>) -> Result<()> {
    loop {
        let response = match connection.send(&call).await {
            // The connection had been closed before anything of the request was written: it can be made on another one.
            Err(error) if error.downcast_ref().is_some_and(hyper::Error::is_canceled) => return Ok(()),
            response => response?,
        };
        let reply = Reply::read(response).await?;
        ensure(reply.status == 200, || format!("answered {}", reply.status))?;
        answered.fetch_add(1, Ordering::SeqCst);
        if reply.header("connection") == Some("close") || !connection.is_open() {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_when_the_gateway_is_asked_to_end() -> Result<()> {
    let (mut world, _backend) = world().await?;
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..12 {
        let call = Call::get(if number % 2 == 0 { "https://shop.test/" } else { "http://shop.test/" });
        let call = if number % 3 == 0 { call.http2() } else { call };
        let connection = call.connect(&world.gateway, &world.scene.tls).await?;
        clients.spawn(until_told_to_stop(connection, call, Arc::clone(&answered)));
    }
    eventually("requests are answered", async || {
        ensure(answered.load(Ordering::SeqCst) > 100, || "not enough yet".to_owned())
    })
    .await?;
    world.gateway.terminate()?;
    while let Some(client) = clients.join_next().await {
        client??;
    }
    assert!(world.gateway.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn requests_under_way_are_answered() -> Result<()> {
    let (mut world, backend) = world().await?;
    let mut held = tokio::task::JoinSet::new();
    for call in [Call::get("https://shop.test/-/hold"), Call::get("http://shop.test/-/hold")] {
        for call in [call.clone(), call.http2()] {
            let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
            held.spawn(async move {
                let reply = Reply::read(connection.send(&call).await?).await?;
                Result::<_>::Ok(reply.status)
            });
        }
    }
    eventually("all are held", async || ensure(backend.waiting() == 4, || backend.waiting().to_string())).await?;
    world.gateway.terminate()?;
    world.until_logged(&["drain"]).await?;
    backend.permit(4);
    while let Some(status) = held.join_next().await {
        assert_eq!(status??, 200);
    }
    assert!(world.gateway.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_download_under_way_comes_to_its_end() -> Result<()> {
    for call in [Call::get("https://shop.test/-/parts/3"), Call::get("https://shop.test/-/parts/3").http2()] {
        let (mut world, backend) = world().await?;
        let mut download = call.open(&world.gateway, &world.scene.tls).await?;
        backend.permit(1);
        let first = download.frame().await.ok_or("the download ended")??;
        let received = first.data_ref().map_or(0, bytes::Bytes::len);
        world.gateway.terminate()?;
        world.until_logged(&["drain"]).await?;
        backend.permit(2);
        assert_eq!(received + download.collect().await?.to_bytes().len(), 3 * 1_024);
        assert!(world.gateway.ended().await?.success());
    }
    Ok(())
}

#[tokio::test]
async fn readiness_ends_first_and_liveness_last() -> Result<()> {
    let (mut world, backend) = world().await?;
    let call = Call::get("http://shop.test/-/hold");
    let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
    let held = tokio::spawn(connection.start(&call).await?);
    eventually("it is held", async || ensure(backend.waiting() == 1, || "not yet".to_owned())).await?;
    let metrics = world.gateway.address("metrics")?;
    assert_eq!(get_plain(metrics, "/readyz").await?.status, 200);
    world.gateway.terminate()?;
    eventually("it is not ready", async || {
        let status = get_plain(metrics, "/readyz").await?.status;
        ensure(status == 503, || format!("/readyz answers {status}"))
    })
    .await?;
    assert_eq!(get_plain(metrics, "/livez").await?.status, 200);
    backend.permit(1);
    assert_eq!(held.await??.status(), 200);
    assert!(world.gateway.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_the_deadline() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let options = Options::default().argument("--drain-timeout").argument("1s");
    let mut world = scene.open_with(options).await?;
    let call = Call::get("http://shop.test/-/hold");
    let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
    let held = tokio::spawn(connection.start(&call).await?);
    eventually("it is held", async || ensure(backend.waiting() == 1, || "not yet".to_owned())).await?;
    world.gateway.terminate()?;
    assert!(world.gateway.ended().await?.success());
    assert!(held.await?.is_err());
    Ok(())
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() -> Result<()> {
    let (mut world, _backend) = world().await?;
    let mut idle = Vec::new();
    for call in
        [Call::get("https://shop.test/"), Call::get("https://shop.test/").http2(), Call::get("http://shop.test/")]
    {
        let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
        Reply::read(connection.send(&call).await?).await?;
        idle.push(connection);
    }
    world.gateway.terminate()?;
    assert!(world.gateway.ended().await?.success());
    // The log says how it ended: not by the deadline.
    assert!(!world.gateway.log().has_line_with(&["deadline"]));
    Ok(())
}
