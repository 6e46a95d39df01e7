//! HTTP/2, gRPC and WebSocket, through to the backend.

use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream};
use postern_tests::backend::Backend;
use postern_tests::client::websocket::WebSocket;
use postern_tests::client::{Call, Reply};
use postern_tests::grpc::{ChatClient, GrpcBackend, Line};
use postern_tests::manifests::{PathRule, Rule, Service};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use tokio::sync::mpsc;

use crate::world::{NAMESPACE, Scene, World};

/// A gateway for `chat.test` in front of the gRPC backend.
async fn chat() -> Result<(World, GrpcBackend)> {
    let scene = Scene::new()?;
    let backend = GrpcBackend::start().await?;
    scene.write("service", &Service::new(NAMESPACE, "chat").port_name("h2c").endpoint(backend.address()).objects())?;
    scene.certificate("chat", &["chat.test"])?;
    scene.kingress("chat", |kingress| {
        kingress.tls(&["chat.test"], "chat").rule(Rule::external(&["chat.test"]).path(PathRule::to("chat")))
    })?;
    Ok((scene.open().await?, backend))
}

/// Clients by TLS and by plain h2c.
async fn clients(world: &World) -> Result<[ChatClient; 2]> {
    let tls = Some(&world.scene.tls);
    Ok([
        ChatClient::connect(world.gateway.address("external-https")?, "chat.test", tls).await?,
        ChatClient::connect(world.gateway.address("external-http")?, "chat.test", None).await?,
    ])
}

#[tokio::test]
async fn a_grpc_call_is_answered() -> Result<()> {
    let (world, _backend) = chat().await?;
    for mut client in clients(&world).await? {
        assert_eq!(client.say("hello").await?, "re: hello");
    }
    Ok(())
}

#[tokio::test]
async fn grpc_streams_run_both_ways_at_once() -> Result<()> {
    let (world, _backend) = chat().await?;
    for mut client in clients(&world).await? {
        let (say, lines) = lines();
        let mut answers = client.talk(lines).await?;
        for text in ["one", "two", "three"] {
            say.send(Line::new(text)).await?;
            assert_eq!(answers.message().await?, Some(Line::new(&format!("re: {text}"))));
        }
        say.send(Line::new("bye")).await?;
        assert_eq!(answers.message().await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_grpc_call_brings_its_status_and_trailers() -> Result<()> {
    let (world, _backend) = chat().await?;
    for mut client in clients(&world).await? {
        let status = client.say("fail").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Aborted, "as was asked"));
        assert_eq!(status.metadata().get("x-reason").and_then(|reason| reason.to_str().ok()), Some("because"));
    }
    Ok(())
}

#[tokio::test]
async fn a_talk_that_fails_later_brings_its_trailers_after_the_answers() -> Result<()> {
    let (world, _backend) = chat().await?;
    for mut client in clients(&world).await? {
        let mut answers = client.talk(futures_util::stream::iter(["one", "fail"].map(Line::new))).await?;
        assert_eq!(answers.message().await?, Some(Line::new("re: one")));
        let status = answers.message().await.unwrap_err();
        assert!(status.metadata().contains_key("x-reason"), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_websocket_echoes_plain_and_encrypted() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open().await?;
    let plain = tokio::net::TcpStream::connect(world.gateway.address("external-http")?).await?;
    let mut plain = WebSocket::open(plain, "ws://shop.test/chat").await?;
    let address = world.gateway.address("external-https")?;
    let (encrypted, _) = world.scene.tls.alpn(&["http/1.1"]).connect(address, Some("shop.test")).await?;
    let mut encrypted = WebSocket::open(encrypted, "ws://shop.test/chat").await?;
    for text in ["hello", "", &"long ".repeat(20_000)] {
        plain.echo(text).await?;
        encrypted.echo(text).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_port_name_decides_what_the_backend_is_spoken_to_in() -> Result<()> {
    let scene = Scene::new()?;
    let (http1, h2c) = (Backend::http1("http1").await?, Backend::h2c("h2c").await?);
    for (name, port_name, backend) in [("a", "http1", &http1), ("b", "h2c", &h2c), ("c", "http2", &h2c)] {
        let service = Service::new(NAMESPACE, name).port_name(port_name).endpoint(backend.address());
        scene.write(&format!("service-{name}"), &service.objects())?;
        let host = format!("{name}.test");
        scene.kingress(name, |kingress| kingress.rule(Rule::external(&[&host]).path(PathRule::to(name))))?;
    }
    let world = scene.open().await?;
    for (name, version) in [("a", "HTTP/1.1"), ("b", "HTTP/2.0"), ("c", "HTTP/2.0")] {
        let url = format!("http://{name}.test/x?y");
        for call in [Call::get(&url), Call::get(&url).http2(), Call::post(&url, "body").http2()] {
            let seen = world.send(&call).await?.seen()?;
            assert_eq!(
                (seen.version.as_str(), seen.host, seen.target.as_str()),
                (version, format!("{name}.test"), "/x?y")
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn disable_http2_speaks_http1_to_the_backend_all_the_same() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("http1").await?;
    let service = Service::new(NAMESPACE, "shop").port_name("h2c").endpoint(backend.address());
    scene.write("service", &service.objects())?;
    let annotations = [("kourier.knative.dev/disable-http2", "True"), ("postern.dev/disable-http2", "true")];
    for (number, (annotation, value)) in annotations.into_iter().enumerate() {
        let host = format!("shop{number}.test");
        scene.kingress(&format!("shop{number}"), |kingress| {
            kingress.annotation(annotation, value).rule(Rule::external(&[&host]).path(PathRule::to("shop")))
        })?;
    }
    let world = scene.open().await?;
    for host in ["shop0.test", "shop1.test"] {
        assert_eq!(world.seen(&format!("http://{host}/")).await?.version, "HTTP/1.1");
    }
    Ok(())
}

#[tokio::test]
async fn streams_of_one_http2_connection_do_not_wait_for_each_other() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open().await?;
    let held = Call::get("https://shop.test/-/hold").http2();
    let mut connection = held.connect(&world.gateway, &world.scene.tls).await?;
    let slow = tokio::spawn(connection.start(&held).await?);
    eventually("the request is held", async || ensure(backend.waiting() == 1, || "not yet".to_owned())).await?;
    let quick = connection.send(&Call::get("https://shop.test/quick")).await?;
    assert_eq!(Reply::read(quick).await?.status, 200);
    backend.permit(1);
    assert_eq!(slow.await??.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_connection_to_the_backend_is_used_again() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open().await?;
    let requests = (0..30).map(|_| world.status("https://shop.test/"));
    for request in requests {
        assert_eq!(request.await?, 200);
    }
    assert!(backend.connections() <= 4, "{} connections for 30 requests", backend.connections());
    let at_once = (0..30).map(|_| world.status("https://shop.test/"));
    assert!(try_join_all(at_once).await?.iter().all(|status| *status == 200));
    Ok(())
}

#[tokio::test]
async fn requests_over_http2_use_a_connection_to_the_backend_again() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open().await?;
    let get = Call::get("https://shop.test/-/bytes/1000").http2();
    let mut connection = get.connect(&world.gateway, &world.scene.tls).await?;
    for _ in 0..30 {
        assert_eq!(Reply::read(connection.send(&get).await?).await?.status, 200);
    }
    assert!(backend.connections() <= 4, "{} connections for 30 requests", backend.connections());
    Ok(())
}

/// A stream of lines, and the end that feeds it.
fn lines() -> (mpsc::Sender<Line>, impl Stream<Item = Line> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(4);
    let lines = stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|line| (line, receiver)));
    (sender, lines)
}
