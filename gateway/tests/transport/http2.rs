//! HTTP/2: with prior knowledge on plain listeners, and clients that waste it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use postern::connection::{Http2Settings, Settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{get, http2, read_to_end, read_until, text};
use crate::rig::{Rig, Setup};

#[tokio::test]
async fn http2_is_spoken_without_tls_to_clients_that_know_it() {
    let rig = Rig::start().await;
    let (mut sender, _conn) = http2(TcpStream::connect(rig.http()).await.unwrap()).await;
    let both = futures_util::future::join(sender.clone().send_request(get("/a")), sender.send_request(get("/b"))).await;
    assert_eq!(text(both.0.unwrap()).await, "hello /a");
    assert_eq!(text(both.1.unwrap()).await, "hello /b");
}

#[tokio::test]
async fn a_preface_that_comes_in_pieces_is_recognised() {
    let rig = Rig::start().await;
    let (client, mut to_client) = tokio::io::duplex(64 * 1024);
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tokio::spawn(async move {
        let mut first = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut to_client, &mut first).await.unwrap();
        for byte in first {
            tcp.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let _ = tokio::io::copy_bidirectional(&mut to_client, &mut tcp).await;
    });
    let (mut sender, _conn) = http2(client).await;
    assert_eq!(text(sender.send_request(get("/a")).await.unwrap()).await, "hello /a");
}

#[tokio::test]
async fn methods_that_begin_like_the_preface_are_http1() {
    let rig = Rig::start().await;
    for method in ["PUT", "PROPFIND", "PRI"] {
        let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
        tcp.write_all(format!("{method} /x HTTP/1.1\r\nhost: one.test\r\n\r\n").as_bytes()).await.unwrap();
        let answer = read_until(&mut tcp, "hello /x").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn half_a_preface_is_cut_off() {
    let connection = Settings { header_timeout: Duration::from_millis(150), ..Settings::default() };
    let rig = Rig::with(Setup { connection, ..Setup::default() }).await;
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.write_all(b"PRI * HTTP").await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_connection_without_streams_is_told_to_go_away() {
    let http2_settings = Http2Settings { idle_timeout: Duration::from_millis(150), ..Http2Settings::default() };
    let connection = Settings { http2: http2_settings, ..Settings::default() };
    let rig = Rig::with(Setup { connection, ..Setup::default() }).await;
    let (mut sender, conn) = http2(TcpStream::connect(rig.http()).await.unwrap()).await;
    text(sender.send_request(get("/a")).await.unwrap()).await;
    conn.await.unwrap().expect("an orderly end");
    rig.admission.closed().await;
}

#[tokio::test]
async fn a_stream_that_is_served_keeps_its_connection_open() {
    let idle = Duration::from_millis(150);
    let http2_settings = Http2Settings { idle_timeout: idle, ..Http2Settings::default() };
    let connection = Settings { http2: http2_settings, ..Settings::default() };
    let rig = Rig::with(Setup { connection, ..Setup::default() }).await;
    let (mut sender, _conn) = http2(TcpStream::connect(rig.http()).await.unwrap()).await;
    let waiting = sender.send_request(get("/wait"));
    let release = async {
        rig.backend.arrival().await;
        tokio::time::sleep(idle * 3).await;
        rig.backend.release();
    };
    let (response, ()) = tokio::join!(waiting, release);
    assert_eq!(text(response.unwrap()).await, "waited");
}

#[tokio::test]
async fn a_client_that_cancels_its_streams_is_cut_off() {
    let rig = Rig::start().await;
    let tcp = TcpStream::connect(rig.http()).await.unwrap();
    let (mut client, conn) = h2::client::handshake(tcp).await.unwrap();
    let conn = tokio::spawn(conn);
    for _ in 0..100_000 {
        let Ok(ready) = client.ready().await else { break };
        client = ready;
        let request = Request::get("http://one.test/wait").body(()).unwrap();
        let Ok((response, mut stream)) = client.send_request(request, true) else { break };
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        tokio::task::yield_now().await;
    }
    assert!(conn.await.unwrap().is_err(), "the gateway ends the connection");
    rig.admission.closed().await;
}

#[tokio::test]
async fn a_header_list_that_is_too_large_is_refused() {
    let rig = Rig::start().await;
    let (mut sender, _conn) = http2(TcpStream::connect(rig.http()).await.unwrap()).await;
    let mut request = get("/a");
    for n in 0..30 {
        let name = hyper::header::HeaderName::try_from(format!("x-large-{n}")).unwrap();
        request.headers_mut().insert(name, "x".repeat(4000).parse().unwrap());
    }
    match sender.send_request(request).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert_eq!(text(sender.send_request(get("/a")).await.unwrap()).await, "hello /a", "the connection goes on");
}

#[tokio::test]
async fn a_body_flows_both_ways() {
    let rig = Rig::start().await;
    let tcp = TcpStream::connect(rig.http()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let (mut sender, conn) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(conn);
    let body = Bytes::from(vec![b'x'; 3_000_000]);
    let request = Request::post("http://one.test/").body(http_body_util::Full::new(body.clone())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
}

#[tokio::test]
async fn a_client_that_floods_is_told_why_before_it_is_cut_off() {
    let rig = Rig::start().await;
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // One at a time: a connection with bytes that nobody has read is reset, and what was sent before is lost.
    let mut received = Vec::new();
    for _ in 0..100_000 {
        let is_sent = tcp.write_all(b"\0\0\x08\x06\0\0\0\0\0floods..").await.is_ok();
        if !is_sent || tokio::io::AsyncReadExt::read_buf(&mut tcp, &mut received).await.is_ok_and(|count| count == 0) {
            break;
        }
    }
    // RFC 9113 §6.8: length 8, type 7, no flags, stream 0; no stream was served; ENHANCE_YOUR_CALM.
    let goodbye = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    assert!(received.ends_with(&goodbye), "{:?}", received.last_chunk::<34>());
    rig.admission.closed().await;
}
