use std::time::Duration;

use postern::listener::ListenerName;
use postern::proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xds::resource::{Route, UpstreamProtocol};

use crate::rig::{Figures, Gateway, echo, forward, prefix, refusing, serve_echo, status};

fn impatient() -> Settings {
    Settings { endpoint_wait: Duration::from_millis(200), max_waiting: 16, ..Settings::default() }
}

#[tokio::test]
async fn a_refused_connection_goes_to_another_endpoint_and_no_client_sees_it() {
    let mut gateway = Gateway::start();
    let endpoints = [refusing().await, echo("a").await, refusing().await];
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &endpoints);
    gateway.route("shop.test", "ns/a:80");
    for _ in 0..20 {
        assert_eq!(status(&gateway.get("shop.test", "/").await), 200);
    }
}

#[tokio::test]
async fn a_post_whose_connection_was_refused_goes_to_another_endpoint_with_its_body() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[refusing().await, echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    for _ in 0..10 {
        let request = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let answer = gateway.exchange(request).await;
        assert!(answer.ends_with("\n\nhello"), "{answer}");
    }
}

#[tokio::test]
async fn endpoints_that_all_refuse_are_503_after_the_wait() {
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, impatient());
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[refusing().await, refusing().await]);
    gateway.route("shop.test", "ns/a:80");
    let answer = gateway.get("shop.test", "/").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("no endpoint of the service takes connections"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_comes_back_within_the_wait_answers() {
    let figures = Figures::default();
    let _local = figures.record();
    let mut gateway = Gateway::start();
    let address = refusing().await;
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[address]);
    gateway.route("shop.test", "ns/a:80");
    let request = gateway.get("shop.test", "/");
    let restart = async {
        figures.until("postern_upstream_connect_failures_total").await;
        tokio::spawn(serve_echo("a", TcpListener::bind(address).await.expect("the port is still free")));
    };
    let (answer, ()) = tokio::join!(request, restart);
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_service_without_endpoints_is_waited_for_and_then_503() {
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, impatient());
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[]);
    gateway.route("shop.test", "ns/a:80");
    gateway.route("lost.test", "ns/unknown:80");
    let answer = gateway.get("shop.test", "/").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("no ready endpoint"), "{answer}");
    let answer = gateway.get("lost.test", "/").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("not known to the gateway"), "{answer}");
}

#[tokio::test]
async fn a_request_for_an_empty_service_goes_on_as_soon_as_an_endpoint_appears() {
    let figures = Figures::default();
    let _local = figures.record();
    let mut gateway = Gateway::start();
    let backend = echo("a").await;
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[]);
    gateway.route("shop.test", "ns/a:80");
    let address = gateway.address;
    let request = tokio::spawn(async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    });
    figures.until("postern_upstream_waiting_requests").await;
    gateway.endpoints("ns/a:80", &[backend]);
    assert_eq!(status(&request.await.expect("ran")), 200);
}

#[tokio::test]
async fn no_more_requests_wait_than_may() {
    let settings = Settings { max_waiting: 0, ..Settings::default() };
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, settings);
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[]);
    gateway.route("shop.test", "ns/a:80");
    let answer = gateway.get("shop.test", "/").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("too many requests wait"), "{answer}");
}

#[tokio::test]
async fn splits_get_requests_by_their_weights_and_zero_gets_none() {
    let mut gateway = Gateway::start();
    for backend in ["a", "b", "c"] {
        let cluster = format!("ns/{backend}:80");
        gateway.cluster(&cluster, UpstreamProtocol::Http1, &[echo(backend).await]);
    }
    let action = forward(&[("ns/a:80", 75), ("ns/b:80", 25), ("ns/c:80", 0)]);
    gateway.route_with("shop.test", Route { path: prefix("/"), headers: Vec::new(), action });
    let mut seen = [0_u32; 3];
    for _ in 0..200 {
        let answer = gateway.get("shop.test", "/").await;
        for (at, name) in ["backend: a", "backend: b", "backend: c"].iter().enumerate() {
            seen[at] += u32::from(answer.contains(name));
        }
    }
    assert_eq!(seen[0] + seen[1], 200, "{seen:?}");
    assert!((20..=80).contains(&seen[1]), "{seen:?}");
}

/// A backend that reads a request and closes without an answer, and counts.
async fn closing() -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("bound");
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.expect("accepts");
            let mut buffer = [0; 1024];
            if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_request_that_changes_nothing_is_asked_again_elsewhere_when_an_endpoint_breaks_off() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::H2c] {
        let mut gateway = Gateway::start();
        let (breaking, count) = closing().await;
        gateway.cluster("ns/a:80", protocol, &[breaking, echo("a").await]);
        gateway.route("shop.test", "ns/a:80");
        for _ in 0..20 {
            let answer = gateway.get("shop.test", "/").await;
            assert_eq!(status(&answer), 200, "{protocol:?}: {answer}");
        }
        assert!(count.load(std::sync::atomic::Ordering::Relaxed) > 0, "{protocol:?}: none broke off");
    }
}

#[tokio::test]
async fn a_request_under_which_every_endpoint_breaks_off_is_given_up_after_a_few() {
    let mut gateway = Gateway::start();
    let (address, count) = closing().await;
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[address]);
    gateway.route("shop.test", "ns/a:80");
    assert_eq!(status(&gateway.get("shop.test", "/").await), 502);
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_request_that_may_have_been_executed_is_not_sent_again() {
    let mut gateway = Gateway::start();
    let (address, count) = closing().await;
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[address, address]);
    gateway.route("shop.test", "ns/a:80");
    let request = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(status(&gateway.exchange(request).await), 502);
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
}
