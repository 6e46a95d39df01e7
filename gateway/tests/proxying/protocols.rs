use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use futures_util::stream;
use http::HeaderMap;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xds::resource::{Route, UpstreamProtocol};

use crate::rig::{Gateway, echo, forward, prefix, status};

/// A connection over HTTP/2 with prior knowledge.
async fn connect_h2(gateway: &Gateway, client: &h2::client::Builder) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address).await.expect("connects");
    let (requests, connection) = client.handshake(stream).await.expect("speaks h2");
    tokio::spawn(connection);
    requests
}

/// A GET over HTTP/2 with prior knowledge.
async fn get_h2(address: SocketAddr, authority: &str, te: bool) -> (u16, String) {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speaks h2");
    tokio::spawn(connection);
    let mut request =
        hyper::Request::get(format!("http://{authority}/path")).body(Empty::<Bytes>::new()).expect("valid");
    if te {
        request.headers_mut().insert("te", "trailers".parse().expect("valid"));
    }
    let response = sender.send_request(request).await.expect("answered");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn http2_with_prior_knowledge_reaches_http1_and_h2c_services() {
    for (protocol, line) in [(UpstreamProtocol::Http1, "GET /path HTTP/1.1"), (UpstreamProtocol::H2c, "/path HTTP/2.0")]
    {
        let mut gateway = Gateway::start();
        gateway.cluster("ns/a:80", protocol, &[echo("a").await]);
        gateway.route("shop.test", "ns/a:80");
        let (status, body) = get_h2(gateway.address, "shop.test:8080", false).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(line), "{body}");
        assert!(body.contains("shop.test:8080"), "{body}");
    }
}

/// A backend that says which trailers it got, and adds some of its own.
async fn with_trailers() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("bound");
    let answer = |request: hyper::Request<Incoming>| async {
        let body = request.into_body().collect().await.expect("whole");
        let sum =
            body.trailers().and_then(|trailers| trailers.get("x-sum")?.to_str().ok()).unwrap_or("none").to_owned();
        let trailers = HeaderMap::from_iter([("x-end".parse().expect("a name"), "1".parse().expect("a value"))]);
        let frames = [Frame::data(Bytes::from(format!("sum: {sum}"))), Frame::trailers(trailers)];
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        Ok::<_, Infallible>(hyper::Response::builder().header("trailer", "x-end").body(body).expect("valid"))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn trailers_pass_in_both_directions_between_all_versions() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::H2c] {
        let mut gateway = Gateway::start();
        gateway.cluster("ns/a:80", protocol, &[with_trailers().await]);
        gateway.route("shop.test", "ns/a:80");
        let request = "POST / HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\
            Connection: close, te\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
        let answer = gateway.exchange(request).await;
        assert!(
            answer.contains("sum: 7") && answer.to_lowercase().contains("0\r\nx-end: 1\r\n"),
            "{protocol:?}: {answer}"
        );

        let mut requests = connect_h2(&gateway, &h2::client::Builder::new()).await;
        let request = http::Request::post("http://shop.test/").header("te", "trailers").header("trailer", "x-sum");
        let (response, mut sending) = requests.send_request(request.body(()).expect("valid"), false).expect("sent");
        sending.send_data("hi".into(), false).expect("sent");
        let trailers = HeaderMap::from_iter([("x-sum".parse().expect("a name"), "7".parse().expect("a value"))]);
        sending.send_trailers(trailers).expect("sent");
        let mut body = response.await.expect("answered").into_body();
        assert_eq!(body.data().await.expect("a body").expect("whole"), "sum: 7", "{protocol:?}");
        let trailers = body.trailers().await.expect("whole").expect("there are some");
        assert_eq!(trailers.get("x-end").expect("named"), "1", "{protocol:?}");
    }
}

#[tokio::test]
async fn te_trailers_reaches_an_h2c_service() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::H2c, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    let (_, body) = get_h2(gateway.address, "shop.test", true).await;
    assert!(body.contains("te: trailers"), "{body}");
}

#[tokio::test]
async fn an_http1_client_reaches_an_h2c_service_and_a_route_may_force_http1() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::H2c, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    let mut action = forward(&[("ns/a:80", 1)]);
    action.force_http1 = true;
    gateway.route_with("old.test", Route { path: prefix("/"), headers: Vec::new(), action });
    assert!(gateway.get("shop.test", "/").await.contains("HTTP/2.0"));
    assert!(gateway.get("old.test", "/").await.contains("GET / HTTP/1.1"));
}

#[tokio::test]
async fn a_rewritten_host_is_the_authority_of_an_h2c_request() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::H2c, &[echo("a").await]);
    let mut action = forward(&[("ns/a:80", 1)]);
    action.rewrite_host = Some("inner.test".into());
    gateway.route_with("shop.test", Route { path: prefix("/"), headers: Vec::new(), action });
    let (_, body) = get_h2(gateway.address, "shop.test", false).await;
    assert!(body.contains("GET http://inner.test/path HTTP/2.0"), "{body}");
}

#[tokio::test]
async fn an_http2_request_for_an_unknown_host_is_404() {
    let gateway = Gateway::start();
    let (status, body) = get_h2(gateway.address, "nobody.test", false).await;
    assert_eq!((status, body.as_str()), (404, "no service has this host\n"));
}

const KEY: &str = "sec-websocket-key";

/// Accepts one upgrade and echoes what comes after it.
async fn websocket_like() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.expect("accepts");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let lower = head.to_lowercase();
        assert!(head.starts_with("GET ") && lower.contains("upgrade: websocket"), "{head}");
        assert!(lower.contains("connection: upgrade"), "{head}");
        // RFC 6455 §4.1: 16 bytes in base64.
        let key =
            head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case(KEY)));
        assert!(key.is_some_and(|(_, key)| key.len() == 24 && key.ends_with("==")), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        stream.write_all(answer).await.expect("sent");
        let mut buffer = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.expect("sent");
        }
    });
    address
}

/// Asks for a WebSocket and reads the head of the answer.
async fn open_websocket(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.expect("connects");
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    assert_eq!(status(&String::from_utf8_lossy(&head)), 101);
    stream
}

#[tokio::test]
async fn a_websocket_goes_through_in_http1_even_to_an_h2c_service() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::H2c] {
        let mut gateway = Gateway::start();
        gateway.cluster("ns/a:80", protocol, &[websocket_like().await]);
        gateway.route("shop.test", "ns/a:80");
        let mut stream = open_websocket(&gateway).await;
        for message in [b"one", b"two"] {
            stream.write_all(message).await.expect("sent");
            let mut echo = [0; 3];
            stream.read_exact(&mut echo).await.expect("echoed");
            assert_eq!(&echo, message);
        }
    }
}

/// RFC 8441: an extended CONNECT has neither key nor accept, and a service of HTTP/1.1 wants the one and sends the other.
#[tokio::test]
async fn a_websocket_over_http2_reaches_a_service_of_http1() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::H2c] {
        let mut gateway = Gateway::start();
        gateway.cluster("ns/a:80", protocol, &[websocket_like().await]);
        gateway.route("shop.test", "ns/a:80");
        let mut requests = connect_h2(&gateway, &h2::client::Builder::new()).await;
        while !requests.is_extended_connect_protocol_enabled() {
            requests = requests.ready().await.expect("open");
            tokio::task::yield_now().await;
        }
        let mut request = http::Request::connect("http://shop.test/chat");
        request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
        let mut request = request.body(()).expect("valid");
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (response, mut sending) = requests.send_request(request, false).expect("sent");
        let response = response.await.expect("answered");
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert!(!fields.contains_key("sec-websocket-accept") && !fields.contains_key("upgrade"), "{fields:?}");
        assert_eq!(fields.get("sec-websocket-protocol").expect("chosen"), "chat");
        let mut body = response.into_body();
        for message in ["one", "two"] {
            sending.send_data(message.into(), false).expect("sent");
            assert_eq!(body.data().await.expect("open").expect("echoed"), message);
        }
        sending.send_data(Bytes::new(), true).expect("sent");
        let rest = body.data().await.map(|data| data.expect("ended well"));
        assert!(rest.is_none_or(|rest| rest.is_empty()), "the service ends its side too");
    }
}

/// A backend that says 101 as soon as somebody connects, and then echoes; on threads of its own.
fn hasty() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.expect("accepts");
            let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
            stream.write_all(switching).expect("sent");
            std::thread::spawn(move || {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a request");
                    request.extend(byte);
                }
                std::io::copy(&mut stream.try_clone().expect("cloned"), &mut stream)
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_stays_open_however_soon_the_service_agrees() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[hasty()]);
    gateway.route("shop.test", "ns/a:80");
    for _ in 0..100 {
        let mut stream = open_websocket(&gateway).await;
        stream.write_all(b"one").await.expect("sent");
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).await.expect("echoed");
    }
}

#[tokio::test]
async fn other_upgrades_are_not_passed_on() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nConnection: close, Upgrade, HTTP2-Settings\r\n\r\n";
    let answer = gateway.exchange(request).await;
    assert_eq!(status(&answer), 200);
    assert!(!answer.contains("upgrade:") && !answer.contains("http2-settings"), "{answer}");
}

/// The memory of a stream is reserved to the end of its response. Where there is none, there is no body to wait for.
#[tokio::test]
async fn a_response_of_the_gateway_has_no_body_where_there_is_no_memory_for_its_stream() {
    const STREAMS: usize = 60;
    let gateway = Gateway::start();
    gateway.admission.ledger().set_total(1 << 20);
    let requests = connect_h2(&gateway, h2::client::Builder::new().initial_window_size(0)).await;
    let mut responses = Vec::new();
    for _ in 0..STREAMS {
        let request = hyper::Request::get("http://nobody.test/").body(()).expect("valid");
        let mut requests = requests.clone().ready().await.expect("open");
        let (response, _) = requests.send_request(request, true).expect("sent");
        responses.push(response.await.expect("answered"));
    }
    assert!(responses.iter().all(|response| response.status() == 404));
    let ended = responses.iter().filter(|response| response.body().is_end_stream()).count();
    assert!((STREAMS / 3..STREAMS).contains(&ended), "{ended} of {STREAMS} responses have no body");
    assert!(!responses[0].body().is_end_stream(), "the first finds memory");
}
