//! Draining: no request is lost, and the end comes.

use std::sync::Arc;

use postern::drain::Phase;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{config, connect, get, http2, read_to_end, read_until, text, with_alpn};
use crate::rig::Rig;

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: one.test\r\n\r\n";
const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nhost: one.test\r\n\r\n";

async fn open(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.http()).await.unwrap()
}

/// A connection that has served a request and waits for the next.
async fn idle(rig: &Rig) -> TcpStream {
    let mut tcp = open(rig).await;
    tcp.write_all(REQUEST).await.unwrap();
    read_until(&mut tcp, "hello /a").await;
    tcp
}

#[tokio::test]
async fn while_draining_requests_are_answered_with_close_on_old_and_new_connections() {
    let rig = Rig::start().await;
    let old = idle(&rig).await;
    rig.drain.send_replace(Phase::Draining);
    for mut tcp in [old, open(&rig).await] {
        tcp.write_all(REQUEST).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
        assert!(answer.contains("onnection: close") && answer.ends_with("hello /a"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_under_way_when_draining_begins_is_answered_with_close() {
    let rig = Rig::start().await;
    let mut tcp = open(&rig).await;
    tcp.write_all(WAIT).await.unwrap();
    rig.backend.arrival().await;
    rig.drain.send_replace(Phase::Draining);
    rig.backend.release();
    let answer = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
    assert!(answer.contains("onnection: close") && answer.ends_with("waited"), "{answer}");
}

#[tokio::test]
async fn while_draining_http2_connections_finish_their_streams_and_go() {
    let rig = Rig::start().await;
    let config = Arc::new(with_alpn(config(&rig), "h2"));
    let (mut sender, conn) = http2(connect(rig.https(), &config, "one.test").await.unwrap()).await;
    let waiting = tokio::spawn(sender.send_request(get("/wait")));
    rig.backend.arrival().await;
    rig.drain.send_replace(Phase::Draining);
    rig.backend.release();
    assert_eq!(text(waiting.await.unwrap().unwrap()).await, "waited");
    conn.await.unwrap().expect("an orderly end");
    rig.admission.closed().await;
}

#[tokio::test]
async fn closing_ends_idle_connections_and_listeners_and_lets_requests_end() {
    let rig = Rig::start().await;
    let (mut fresh, mut used) = (open(&rig).await, idle(&rig).await);
    let mut busy = open(&rig).await;
    busy.write_all(WAIT).await.unwrap();
    rig.backend.arrival().await;

    rig.drain.send_replace(Phase::Closing);
    assert_eq!(read_to_end(&mut fresh).await, b"");
    assert_eq!(read_to_end(&mut used).await, b"");
    let refused = async {
        while TcpStream::connect(rig.http()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    refused.await;
    assert!(rig.admission.open() > 0);

    rig.backend.release();
    let answer = String::from_utf8(read_to_end(&mut busy).await).unwrap();
    assert!(answer.ends_with("waited"), "{answer}");
    drop(busy);
    rig.admission.closed().await;
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_dropped() {
    let rig = Rig::start().await;
    let mut busy = open(&rig).await;
    busy.write_all(WAIT).await.unwrap();
    rig.backend.arrival().await;
    rig.drain.send_replace(Phase::Closing);
    rig.drain.send_replace(Phase::Expired);
    assert_eq!(read_to_end(&mut busy).await, b"");
    rig.admission.closed().await;
}
