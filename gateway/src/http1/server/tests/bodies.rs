//! Bodies in both directions, and the rest of those that nobody reads.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Rig, read_to_end, read_until, send};
use crate::exchange::ClientError;

#[tokio::test]
async fn a_body_comes_back_unharmed_in_every_framing() {
    let rig = Rig::start().await;
    let body = "0123456789abcdef".repeat(20_000);
    let chunked = body.as_bytes().chunks(7_777).fold(Vec::new(), |mut all, chunk| {
        all.extend_from_slice(format!("{:X};x=y\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
        all
    });
    let length = format!("Content-Length: {}", body.len());
    for (framing, bytes) in [
        (length.as_str(), body.clone().into_bytes()),
        ("Transfer-Encoding: chunked", [&chunked[..], b"0\r\n\r\n"].concat()),
    ] {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{framing}\r\n\r\n");
        let (mut read, mut write) = rig.open().await.into_split();
        let sending = tokio::spawn(async move {
            write.write_all(&[head.as_bytes(), &bytes].concat()).await.unwrap();
            write
        });
        let mut answer = Vec::new();
        read.read_to_end(&mut answer).await.unwrap();
        sending.await.unwrap();
        let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        if framing.starts_with("Content") {
            assert!(&answer[at..] == body.as_bytes(), "{framing}");
        } else {
            assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "{framing}");
        }
        let received = rig.toy.bodies.lock().unwrap().pop().unwrap().unwrap();
        assert!(received == body.as_bytes(), "{framing}");
    }
}

#[tokio::test]
async fn trailers_come_after_a_chunked_body() {
    let rig = Rig::start().await;
    let request = "POST /echo HTTP/1.1\nHost: a.test\nConnection: close\nTransfer-Encoding: chunked\n\n\
                   1\na\n0\nX-Sum: 1\nHost: b\n\n";
    let answer = rig.exchange(request).await;
    assert!(answer.ends_with("\n\n1\na\n0\nX-Sum: 1\n\n"), "{answer}");
    let answer = rig.exchange("GET /sum HTTP/1.1\nHost: a.test\nConnection: close\n\n").await;
    assert!(answer.ends_with("\n\n4\nbody\n0\nx-sum: 1\n\n"), "{answer}");
}

#[tokio::test]
async fn a_response_to_head_and_204_have_no_body() {
    let rig = Rig::start().await;
    for (request, head) in [
        ("HEAD /a", "HTTP/1.1 200 OK\nconnection: close\n\n"),
        ("HEAD /stream", "HTTP/1.1 200 OK\nconnection: close\n\n"),
        ("GET /204", "HTTP/1.1 204 No Content\nconnection: close\n\n"),
    ] {
        let request = format!("{request} HTTP/1.1\nHost: a.test\nConnection: close\n\n");
        assert_eq!(rig.exchange(&request).await, head);
    }
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_send_when_its_body_is_read() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    let head = "POST /echo HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 5\n\n";
    send(&mut tcp, head).await;
    assert_eq!(read_until(&mut tcp, "\n\n").await, "HTTP/1.1 100 Continue\n\n");
    send(&mut tcp, "hello").await;
    let answer = read_until(&mut tcp, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.contains("keep-alive"), "{answer}");
    // Not to one that did not wait.
    send(&mut tcp, &[head, "hello"].concat()).await;
    assert!(read_until(&mut tcp, "hello").await.starts_with("HTTP/1.1 200 OK\n"));
}

#[tokio::test]
async fn a_connection_ends_if_nobody_knows_whether_the_body_comes() {
    let rig = Rig::start().await;
    let request = "POST /a HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 5\n\n";
    let answer = rig.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn the_rest_of_a_body_is_discarded_before_the_next_request() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    send(&mut tcp, "POST /a HTTP/1.1\nHost: a.test\nContent-Length: 60000\n\n").await;
    read_until(&mut tcp, "hello /a").await;
    tcp.write_all(&vec![b'x'; 60_000]).await.unwrap();
    send(&mut tcp, "GET /b HTTP/1.1\nHost: a.test\n\n").await;
    assert!(read_until(&mut tcp, "hello /b").await.starts_with("HTTP/1.1 200 OK\n"));
}

#[tokio::test]
async fn a_connection_ends_with_a_body_that_is_too_long_to_discard() {
    let rig = Rig::start().await;
    for framing in ["Content-Length: 70000\n\n", "Transfer-Encoding: chunked\n\n11170\n"] {
        let mut tcp = rig.open().await;
        send(&mut tcp, &format!("POST /a HTTP/1.1\nHost: a.test\n{framing}")).await;
        tcp.write_all(&vec![b'x'; 70_000]).await.unwrap();
        assert!(read_to_end(&mut tcp).await.ends_with("hello /a"), "{framing}");
    }
}

#[tokio::test]
async fn a_malformed_body_ends_the_connection() {
    let rig = Rig::start().await;
    for chunk in ["zz\r\nab\r\n", "2\nab\r\n", "2;a\nb\r\nab\r\n", "ffffffffffffffff1\r\n"] {
        let mut tcp = rig.open().await;
        send(&mut tcp, "POST /echo HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n").await;
        tcp.write_all(chunk.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"), "{chunk:?}: {answer}");
        assert_eq!(rig.toy.bodies.lock().unwrap().pop(), Some(Err(ClientError::Malformed)));
    }
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_body_is_gone() {
    let rig = Rig::start().await;
    let mut tcp = rig.open().await;
    send(&mut tcp, "POST /echo HTTP/1.1\nHost: a.test\nContent-Length: 5\n\nhe").await;
    tcp.shutdown().await.unwrap();
    read_to_end(&mut tcp).await;
    assert_eq!(*rig.toy.bodies.lock().unwrap(), [Err(ClientError::Gone)]);
}
