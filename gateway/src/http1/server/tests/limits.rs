//! Requests that are refused, and clients that take too long.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::rig::{HOUR, Rig, patient, read_to_end, read_until, send};
use crate::connection::Settings;

const SHORT: Duration = Duration::from_millis(150);

fn refusal(line: &str) -> String {
    format!("HTTP/1.1 {line}\ncontent-length: 0\nconnection: close\n\n")
}

#[tokio::test]
async fn a_bad_head_is_refused_and_ends_the_connection() {
    let rig = Rig::start().await;
    for (request, answer) in [
        ("GET /a b HTTP/1.1\nHost: a.test\n\n", refusal("400 Bad Request")),
        ("GET / HTTP/1.1\n\n", refusal("400 Bad Request")),
        ("GET / HTTP/3.0\nHost: a.test\n\n", refusal("505 HTTP Version Not Supported")),
    ] {
        assert_eq!(rig.exchange(&[request, "GET / HTTP/1.1\nHost: a.test\n\n"].concat()).await, answer, "{request}");
    }
    let connect = rig.exchange("CONNECT a.test:443 HTTP/1.1\nHost: a.test:443\n\n").await;
    assert!(connect.starts_with("HTTP/1.1 405 Method Not Allowed\nallow: "), "{connect}");
    let refused: Vec<u16> = rig.toy.refused.lock().unwrap().iter().map(|(status, _)| *status).collect();
    assert_eq!(refused, [400, 400, 505, 405]);
    assert!(rig.toy.heads.lock().unwrap().is_empty(), "no handler saw them");
}

#[tokio::test]
async fn a_bare_line_feed_is_refused_at_once() {
    let rig = Rig::start().await;
    for request in ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a.test\nX: y"] {
        let mut tcp = rig.open().await;
        tcp.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut tcp).await, refusal("400 Bad Request"), "{request:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let rig = Rig::start().await;
    let long = format!("GET / HTTP/1.1\nHost: a.test\nX: {}\n\n", "x".repeat(300_000));
    let many = format!("GET / HTTP/1.1\nHost: a.test\n{}\n", "X: y\n".repeat(2_000));
    let endless = "x".repeat(70_000);
    for request in [long, many, endless] {
        let mut tcp = rig.open().await;
        // The refusal may come before all is sent.
        let _ = tcp.write_all(request.replace('\n', "\r\n").as_bytes()).await;
        assert_eq!(read_to_end(&mut tcp).await, refusal("431 Request Header Fields Too Large"));
    }
    let fits = format!("GET /a HTTP/1.1\nHost: a.test\nConnection: close\nX: {}\n\n", "x".repeat(60_000));
    assert!(rig.exchange(&fits).await.ends_with("hello /a"));
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off_wherever_it_begins() {
    let rig = Rig::with(Settings { header_timeout: SHORT, ..patient() }).await;
    let late = refusal("408 Request Timeout");
    assert_eq!(rig.exchange("GET / HTTP/1.1\nhost: one").await, late);
    let mut used = rig.open().await;
    send(&mut used, "GET /a HTTP/1.1\nHost: a.test\n\n").await;
    read_until(&mut used, "hello /a").await;
    send(&mut used, "GET / HTTP/1.1\n").await;
    assert_eq!(read_to_end(&mut used).await, late);
    let pipelined = rig.exchange("GET /a HTTP/1.1\nHost: a.test\n\nGET / HTTP/1.1\n").await;
    assert!(pipelined.ends_with(&["hello /a", &late].concat()), "{pipelined}");
}

#[tokio::test]
async fn each_byte_does_not_buy_more_time() {
    let rig = Rig::with(Settings { header_timeout: SHORT * 4, ..patient() }).await;
    let mut tcp = rig.open().await;
    let (mut read, mut write) = tcp.split();
    let drip = async {
        for _ in 0.. {
            tokio::time::sleep(SHORT).await;
            if write.write_all(b"x").await.is_err() {
                break;
            }
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = drip => {}
        read = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer) => { read.unwrap(); }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn the_deadline_of_a_head_ends_with_it() {
    let rig = Rig::with(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = rig.open().await;
    send(&mut tcp, "POST /echo HTTP/1.1\nHost: a.test\n").await;
    tokio::time::sleep(SHORT / 3).await;
    send(&mut tcp, "Content-Length: 8\n\nslow").await;
    tokio::time::sleep(SHORT * 3).await;
    send(&mut tcp, "body").await;
    read_until(&mut tcp, "slowbody").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let rig = Rig::with(Settings { idle_timeout: SHORT, ..patient() }).await;
    assert_eq!(read_to_end(&mut rig.open().await).await, "");
    let mut used = rig.open().await;
    send(&mut used, "POST /echo HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody").await;
    read_until(&mut used, "body").await;
    assert_eq!(read_to_end(&mut used).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let rig = Rig::with(Settings { write_stall_timeout: SHORT, ..patient() }).await;
    let mut tcp = rig.open().await;
    send(&mut tcp, "GET /endless HTTP/1.1\nHost: a.test\n\n").await;
    let left = tokio::time::timeout(HOUR, rig.left.acquire()).await.unwrap();
    left.unwrap().forget();
}
