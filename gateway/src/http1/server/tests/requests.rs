//! Requests one after the other, and what becomes of their connection.

use tokio::io::AsyncWriteExt;

use super::rig::{Rig, patient, read_to_end, read_until, send};
use crate::connection::Settings;
use crate::drain::Phase;

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\nHost: a.test\n\n")
}

fn hello(path: &str, connection: &str) -> String {
    let body = format!("hello {path}");
    format!("HTTP/1.1 200 OK\ncontent-length: {}\nconnection: {connection}\n\n{body}", body.len())
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    for path in ["/a", "/b", "/c"] {
        send(&mut tcp, &get(path)).await;
        assert_eq!(read_until(&mut tcp, path).await, hello(path, "keep-alive"));
    }
    let last = "GET /d HTTP/1.1\nHost: a.test\nConnection: close\n\n";
    send(&mut tcp, last).await;
    assert_eq!(read_to_end(&mut tcp).await, hello("/d", "close"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::start().await;
    let post = "POST /echo HTTP/1.1\nHost: a.test\nContent-Length: 6\n\nsecond";
    let chunked = "POST /echo HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n3\nthi\n2\nrd\n0\n\n";
    let last = "GET /d HTTP/1.1\nHost: a.test\nConnection: close\n\n";
    let answers = rig.exchange(&[&get("/a"), post, "\n", chunked, &get("/c"), last].concat()).await;
    let echo = "HTTP/1.1 200 OK\ncontent-length: 6\nconnection: keep-alive\n\nsecond\
                HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: keep-alive\n\n3\nthi\n2\nrd\n0\n\n";
    let expected = [&hello("/a", "keep-alive"), echo, &hello("/c", "keep-alive"), &hello("/d", "close")].concat();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn a_request_that_arrives_while_one_is_served_is_not_lost() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    send(&mut tcp, &get("/wait")).await;
    rig.toy.waiting.acquire().await.unwrap().forget();
    send(&mut tcp, &get("/next")).await;
    rig.toy.released.add_permits(1);
    read_until(&mut tcp, "waited").await;
    assert_eq!(read_until(&mut tcp, "/next").await, hello("/next", "keep-alive"));
}

#[tokio::test]
async fn http_1_0_persists_only_when_asked_to() {
    let rig = Rig::start().await;
    let answer = rig.exchange("GET /a HTTP/1.0\n\n").await;
    assert_eq!(answer, hello("/a", "close"));
    let twice = "GET /a HTTP/1.0\nConnection: keep-alive\n\nGET /b HTTP/1.0\nHost: a.test\n\n";
    assert_eq!(rig.exchange(twice).await, hello("/a", "keep-alive") + &hello("/b", "close"));
}

#[tokio::test]
async fn http_1_0_is_never_sent_chunks_trailers_or_interim_responses() {
    let rig = Rig::start().await;
    let answer = rig.exchange("GET /stream HTTP/1.0\nConnection: keep-alive\n\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\nconnection: close\n\nhello world");
    let answer = rig.exchange("GET /sum HTTP/1.0\n\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\nconnection: close\n\nbody");
    let answer = rig.exchange("GET /hints HTTP/1.0\n\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nok");
}

#[tokio::test]
async fn a_connection_is_closed_after_as_many_requests_as_it_may_have() {
    let rig = Rig::with(Settings { max_requests: 2, ..patient() }).await;
    let answers = rig.exchange(&[get("/a"), get("/b"), get("/c")].concat()).await;
    assert_eq!(answers, hello("/a", "keep-alive") + &hello("/b", "close"));
}

#[tokio::test]
async fn a_handler_may_end_the_connection() {
    let rig = Rig::start().await;
    let answer = rig.exchange(&[get("/close"), get("/a")].concat()).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nok");
    assert_eq!(rig.exchange(&[get("/nothing"), get("/a")].concat()).await, "");
}

#[tokio::test]
async fn while_draining_responses_say_close_also_to_requests_under_way() {
    let rig = Rig::start().await;
    let mut busy = rig.open().await;
    send(&mut busy, &get("/wait")).await;
    rig.toy.waiting.acquire().await.unwrap().forget();
    rig.drain.send_replace(Phase::Draining);
    rig.toy.released.add_permits(1);
    let answer = read_to_end(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    assert_eq!(rig.exchange(&get("/a")).await, hello("/a", "close"));
}

#[tokio::test]
async fn closing_ends_idle_connections_and_lets_requests_end() {
    let rig = Rig::start().await;
    let (mut fresh, mut used, mut busy) = (rig.open().await, rig.open().await, rig.open().await);
    send(&mut used, &get("/a")).await;
    read_until(&mut used, "/a").await;
    send(&mut busy, &get("/wait")).await;
    rig.toy.waiting.acquire().await.unwrap().forget();
    rig.drain.send_replace(Phase::Closing);
    assert_eq!(read_to_end(&mut fresh).await, "");
    assert_eq!(read_to_end(&mut used).await, "");
    rig.toy.released.add_permits(1);
    assert!(read_to_end(&mut busy).await.ends_with("waited"));
}

#[tokio::test]
async fn a_client_that_has_stopped_sending_is_answered() {
    let rig = Rig::start().await;
    for path in ["/wait", "/a"] {
        let mut tcp = rig.open().await;
        send(&mut tcp, &get(path)).await;
        tcp.shutdown().await.unwrap();
        rig.toy.released.add_permits(1);
        let answer = read_to_end(&mut tcp).await;
        assert!(answer.ends_with("waited") || answer == hello("/a", "keep-alive"), "{answer}");
    }
    assert!(rig.toy.bodies.lock().unwrap().is_empty(), "nobody was taken for gone");
}

#[tokio::test]
async fn a_reset_reaches_the_handler_while_it_waits() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    send(&mut tcp, &get("/wait")).await;
    rig.toy.waiting.acquire().await.unwrap().forget();
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    rig.left.acquire().await.unwrap().forget();
    assert_eq!(*rig.toy.bodies.lock().unwrap(), [Err(crate::exchange::ClientError::Gone)]);
}

#[tokio::test]
async fn a_response_that_breaks_off_lacks_its_end() {
    let rig = Rig::start().await;
    let answer = rig.exchange(&get("/abort")).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: keep-alive\n\n4\nhalf\n");
    // Where the end of the connection is that of the body, a reset says so.
    let mut tcp = rig.open().await;
    send(&mut tcp, "GET /abort HTTP/1.0\n\n").await;
    rig.left.acquire_many(2).await.unwrap().forget();
    let mut bytes = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut bytes).await;
    assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn interim_responses_come_first_and_100_only_to_who_expects_it() {
    let rig = Rig::start().await;
    let hints = "HTTP/1.1 103 Early Hints\nlink: </a>\n\n";
    let end = "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nok";
    let answer = rig.exchange("GET /hints HTTP/1.1\nHost: a.test\nConnection: close\n\n").await;
    assert_eq!(answer, [hints, end].concat());
    let expecting =
        "POST /hints HTTP/1.1\nHost: a.test\nConnection: close\nExpect: 100-continue\nContent-Length: 1\n\n";
    assert_eq!(rig.exchange(expecting).await, ["HTTP/1.1 100 Continue\n\n", hints, end].concat());
}

#[tokio::test]
async fn a_tunnel_carries_raw_bytes_and_each_side_ends_its_own() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    send(&mut tcp, "GET /tunnel HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: echo\n\nearly").await;
    let head = "HTTP/1.1 101 Switching Protocols\nupgrade: echo\nconnection: upgrade\n\n";
    assert_eq!(read_until(&mut tcp, "early").await, [head, "early"].concat());
    send(&mut tcp, "GET /").await;
    assert_eq!(read_until(&mut tcp, "/").await, "GET /");
    tcp.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, "bye");
}
