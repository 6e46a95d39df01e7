//! HTTP/1.1: keep-alive, pipelining, and clients that take their time.

use std::time::Duration;

use postern::connection::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{read_to_end, read_until};
use crate::rig::{Rig, Setup};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(150);

/// No limit can strike but the one a test sets.
fn patient() -> Settings {
    Settings { header_timeout: HOUR, idle_timeout: HOUR, ..Settings::default() }
}

async fn rig(connection: Settings) -> Rig {
    Rig::with(Setup { connection, ..Setup::default() }).await
}

async fn open(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.http()).await.unwrap()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: one.test\r\n\r\n")
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    for path in ["/a", "/b", "/c"] {
        tcp.write_all(request(path).as_bytes()).await.unwrap();
        let answer = read_until(&mut tcp, &format!("hello {path}")).await;
        assert!(answer.contains("keep-alive"), "{answer}");
    }
}

#[tokio::test]
async fn requests_know_their_connection() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    for _ in 0..2 {
        tcp.write_all(request("/facts").as_bytes()).await.unwrap();
        let facts = format!("external-http {} {} plain", tcp.local_addr().unwrap(), rig.http());
        read_until(&mut tcp, &facts).await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    let three = [
        request("/first"),
        "POST /second HTTP/1.1\r\nhost: one.test\r\ncontent-length: 11\r\n\r\nsecond body".to_owned(),
        request("/third"),
    ];
    tcp.write_all(three.concat().as_bytes()).await.unwrap();
    let answers = read_until(&mut tcp, "hello /third").await;
    let (first, second) = (answers.find("hello /first").unwrap(), answers.find("second body").unwrap());
    assert!(first < second, "{answers}");
    // The connection is as good as before.
    tcp.write_all(request("/fourth").as_bytes()).await.unwrap();
    read_until(&mut tcp, "hello /fourth").await;
}

#[tokio::test]
async fn a_request_that_arrives_while_one_is_served_is_not_lost() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    tcp.write_all(request("/wait").as_bytes()).await.unwrap();
    rig.backend.arrival().await;
    tcp.write_all(request("/next").as_bytes()).await.unwrap();
    rig.backend.release();
    let answers = read_until(&mut tcp, "hello /next").await;
    assert!(answers.contains("waited"), "{answers}");
}

#[tokio::test]
async fn a_header_that_drips_in_is_cut_off() {
    let rig = rig(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: one").await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_header_that_drips_in_is_cut_off_on_a_used_connection_too() {
    let rig = rig(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(request("/").as_bytes()).await.unwrap();
    read_until(&mut tcp, "hello /").await;
    tcp.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_header_that_drips_in_behind_a_pipelined_request_is_cut_off_too() {
    let rig = rig(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all([request("/").as_str(), "GET / HTTP/1.1\r\n"].concat().as_bytes()).await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("hello /HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn each_byte_does_not_buy_more_time() {
    let rig = rig(Settings { header_timeout: SHORT * 4, ..patient() }).await;
    let (mut read, mut write) = open(&rig).await.into_split();
    let dripping = tokio::spawn(async move {
        let mut interval = tokio::time::interval(SHORT);
        for byte in request("/").repeat(100).bytes().filter(|byte| *byte != b'\r' && *byte != b'\n') {
            interval.tick().await;
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let answer = read_to_end(&mut read).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    dripping.abort();
}

#[tokio::test]
async fn the_headers_deadline_ends_with_the_header() {
    let rig = rig(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(request("/wait").as_bytes()).await.unwrap();
    rig.backend.arrival().await;
    tokio::time::sleep(SHORT * 3).await;
    rig.backend.release();
    read_until(&mut tcp, "waited").await;
}

#[tokio::test]
async fn a_body_may_take_longer_than_a_header() {
    let rig = rig(Settings { header_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(b"POST / HTTP/1.1\r\nhost: one.test\r\ncontent-length: 8\r\n\r\nslow").await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    tcp.write_all(b"body").await.unwrap();
    read_until(&mut tcp, "slowbody").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let rig = rig(Settings { idle_timeout: SHORT, ..patient() }).await;
    let mut fresh = open(&rig).await;
    assert_eq!(read_to_end(&mut fresh).await, b"");
    let mut used = open(&rig).await;
    used.write_all(request("/").as_bytes()).await.unwrap();
    read_until(&mut used, "hello /").await;
    assert_eq!(read_to_end(&mut used).await, b"");
}

#[tokio::test]
async fn a_connection_that_waits_after_a_body_is_closed_when_idle_too() {
    let rig = rig(Settings { idle_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(b"POST / HTTP/1.1\r\nhost: one.test\r\ncontent-length: 4\r\n\r\nbody").await.unwrap();
    read_until(&mut tcp, "body").await;
    assert_eq!(read_to_end(&mut tcp).await, b"");
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_with_431() {
    let rig = rig(patient()).await;
    let mut tcp = open(&rig).await;
    let header = format!("GET / HTTP/1.1\r\nhost: one.test\r\nx-large: {}\r\n\r\n", "x".repeat(300_000));
    // The refusal may come before all is sent.
    let _ = tcp.write_all(header.as_bytes()).await;
    let answer = read_to_end(&mut tcp).await;
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_large_body_does_not_count_as_header() {
    let rig = rig(patient()).await;
    let mut tcp = open(&rig).await;
    let body = "0123456789abcdef".repeat(20_000);
    let request = format!("POST / HTTP/1.1\r\nhost: one.test\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (mut read, mut write) = tcp.split();
    let (sent, answer) = tokio::join!(write.write_all(request.as_bytes()), read_until(&mut read, &body));
    sent.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "the body came back unharmed");
}

#[tokio::test]
async fn a_response_is_passed_on_as_it_comes() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    tcp.write_all(request("/stream").as_bytes()).await.unwrap();
    read_until(&mut tcp, "first half,\r\n").await;
    rig.backend.release();
    read_until(&mut tcp, " second half\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_connection_is_closed_after_as_many_requests_as_it_may_have() {
    let rig = rig(Settings { max_requests: 2, ..patient() }).await;
    let mut tcp = open(&rig).await;
    tcp.write_all(request("/a").as_bytes()).await.unwrap();
    let first = read_until(&mut tcp, "hello /a").await;
    assert!(first.contains("keep-alive"), "{first}");
    tcp.write_all(request("/b").as_bytes()).await.unwrap();
    let last = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
    assert!(last.contains("onnection: close") && last.ends_with("hello /b"), "{last}");
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    tcp.write_all(b"GET / HTTP/1.0\r\nhost: one.test\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello /"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let rig = rig(Settings { write_stall_timeout: SHORT, ..patient() }).await;
    let mut tcp = open(&rig).await;
    // More than the buffers on the way hold, echoed to a client that reads none of it.
    let size = 64 * 1024 * 1024;
    let head = format!("POST / HTTP/1.1\r\nhost: one.test\r\ncontent-length: {size}\r\n\r\n");
    tcp.write_all(head.as_bytes()).await.unwrap();
    let body = vec![b'x'; 1024 * 1024];
    for _ in 0..64 {
        if tcp.write_all(&body).await.is_err() {
            break;
        }
    }
    rig.admission.closed().await;
}
