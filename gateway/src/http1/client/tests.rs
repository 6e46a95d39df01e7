use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::message::{BodyLength, Version};

/// Both ends of a new connection: ours and the endpoint's.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

fn head(method: http::Method, body: BodyLength) -> RequestHead {
    RequestHead { body, ..RequestHead::new(Version::Http11, method, b"a.test", b"/a") }
}

/// Sends a GET, lets the endpoint answer this, LF for CRLF, and reads the response to its end.
async fn answered(
    method: http::Method,
    response: &str,
    then_closes: bool,
) -> (Http1Exchange, Result<String, EndpointError>) {
    let (ours, mut endpoint) = connection().await;
    let mut exchange = Http1Exchange::fresh(ours);
    exchange.send_head(&head(method, BodyLength::Empty));
    poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
    read_head(&mut endpoint).await;
    endpoint.write_all(response.replace('\n', "\r\n").as_bytes()).await.unwrap();
    if then_closes {
        endpoint.shutdown().await.unwrap();
    }
    let text = read_response(&mut exchange).await;
    // Until here, so that it does not close before.
    drop(endpoint);
    (exchange, text)
}

async fn read_head(endpoint: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(endpoint.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().replace("\r\n", "\n")
}

/// Reads statuses, body and trailers: `103 200 body x-sum: 1`.
async fn read_response(exchange: &mut Http1Exchange) -> Result<String, EndpointError> {
    let mut text = String::new();
    loop {
        let head = poll_fn(|cx| exchange.poll_head(cx)).await?;
        text.extend([head.status.to_string().as_str(), " "]);
        if !head.is_interim() {
            break;
        }
    }
    while let Some(data) = poll_fn(|cx| exchange.poll_body(cx)).await? {
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    for field in exchange.take_trailers().iter().flat_map(Fields::iter) {
        let [name, value] = [field.name, field.value].map(|bytes| std::str::from_utf8(bytes).unwrap());
        text.extend([" ", name, ": ", value]);
    }
    Ok(text)
}

#[tokio::test]
async fn a_response_is_read_in_every_framing_and_frees_its_connection_if_it_may() {
    for (response, text, is_reusable) in [
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "200 hello", true),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "200 ", true),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", "200 hello", true),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n3\nllo\n0\nX-Sum: 1\n\n", "200 hello X-Sum: 1", true),
        ("HTTP/1.1 103 Early Hints\n\nHTTP/1.1 100 Continue\n\nHTTP/1.1 204 No Content\n\n", "103 100 204 ", true),
        ("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", "304 ", true),
        ("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 5\n\nhello", "200 hello", false),
        ("HTTP/1.0 200 OK\nContent-Length: 5\n\nhello", "200 hello", false),
        ("HTTP/1.1 204 No Content\nTransfer-Encoding: chunked\n\n0\n\n", "204 ", false),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello and more", "200 hello", false),
    ] {
        let (exchange, read) = answered(http::Method::GET, response, false).await;
        assert_eq!(read.as_deref(), Ok(text), "{response:?}");
        assert_eq!(exchange.into_idle().is_some(), is_reusable, "{response:?}");
    }
    let (exchange, read) = answered(http::Method::HEAD, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", false).await;
    assert_eq!(read.as_deref(), Ok("200 "));
    assert!(exchange.into_idle().is_some());
}

#[tokio::test]
async fn a_response_that_ends_with_the_connection_is_whole() {
    let (exchange, read) = answered(http::Method::GET, "HTTP/1.1 200 OK\n\nhello", true).await;
    assert_eq!(read.as_deref(), Ok("200 hello"));
    assert!(exchange.into_idle().is_none());
}

#[tokio::test]
async fn a_response_that_is_cut_off_is_broken() {
    for response in [
        "",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 103 Early Hints\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 6\n\nhello",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n",
    ] {
        let (exchange, read) = answered(http::Method::GET, response, true).await;
        assert_eq!(read, Err(EndpointError::Broken), "{response:?}");
        assert!(exchange.into_idle().is_none());
    }
}

#[tokio::test]
async fn a_response_that_is_not_http_is_malformed() {
    for response in [
        "SSH-2.0-OpenSSH\n\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nab",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n",
        "HTTP/1.1 101 Switching Protocols\nUpgrade: echo\nConnection: upgrade\n\n",
        &format!("HTTP/1.1 200 OK\n{}", "x".repeat(70_000)),
        &format!("HTTP/1.1 200 OK\nX: {}\n\n", "x".repeat(62_000)),
    ] {
        let (_, read) = answered(http::Method::GET, response, false).await;
        assert_eq!(read, Err(EndpointError::Malformed), "{response:.60}");
    }
    let fits = format!("HTTP/1.1 200 OK\nContent-Length: 2\nX: {}\n\nok", "x".repeat(60_000));
    assert_eq!(answered(http::Method::GET, &fits, false).await.1.as_deref(), Ok("200 ok"));
}

#[tokio::test]
async fn a_connection_serves_one_exchange_after_the_other() {
    let (ours, mut endpoint) = connection().await;
    let mut exchange = Http1Exchange::fresh(ours);
    for number in 0..3 {
        assert_eq!(exchange.is_reused(), number > 0);
        exchange.send_head(&head(http::Method::POST, BodyLength::Exact(5)));
        exchange.send_data(Bytes::from_static(b"hello"));
        exchange.send_end(None);
        poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
        let request = "POST /a HTTP/1.1\nhost: a.test\ncontent-length: 5\n\n";
        assert_eq!(read_head(&mut endpoint).await, request);
        endpoint.read_exact(&mut [0; 5]).await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=7\r\n\r\nok";
        endpoint.write_all(response).await.unwrap();
        assert_eq!(read_response(&mut exchange).await.as_deref(), Ok("200 ok"));
        let idle = exchange.into_idle().expect("both messages are complete");
        assert!(!idle.is_stale());
        assert_eq!(idle.keep_alive(), Some(Duration::from_secs(7)));
        exchange = Http1Exchange::reused(idle);
    }
}

#[tokio::test]
async fn an_idle_connection_is_stale_once_its_endpoint_closes_or_speaks() {
    for bytes in [&b""[..], b"x"] {
        let (ours, mut endpoint) = connection().await;
        let idle = IdleConnection { tcp: ours, keep_for: None };
        assert!(!idle.is_stale());
        endpoint.write_all(bytes).await.unwrap();
        if bytes.is_empty() {
            drop(endpoint);
        }
        while !idle.is_stale() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_whose_request_is_not_complete_is_not_used_again() {
    let (ours, mut endpoint) = connection().await;
    let mut exchange = Http1Exchange::fresh(ours);
    exchange.send_head(&head(http::Method::POST, BodyLength::Unknown));
    exchange.send_data(Bytes::from_static(b"hello"));
    poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
    endpoint.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(read_response(&mut exchange).await.as_deref(), Ok("413 "));
    assert!(exchange.into_idle().is_none());
}

#[tokio::test]
async fn a_chunked_request_has_its_trailers() {
    let (ours, mut endpoint) = connection().await;
    let mut exchange = Http1Exchange::fresh(ours);
    let mut trailers = Fields::default();
    trailers.append(b"x-sum", b"1");
    exchange.send_head(&RequestHead { takes_trailers: true, ..head(http::Method::POST, BodyLength::Unknown) });
    exchange.send_data(Bytes::from_static(b"hello"));
    exchange.send_end(Some(&trailers));
    poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
    drop(exchange);
    let mut request = String::new();
    endpoint.read_to_string(&mut request).await.unwrap();
    let expected = "POST /a HTTP/1.1\nhost: a.test\nte: trailers\nconnection: te\ntransfer-encoding: chunked\n\n\
                    5\nhello\n0\nx-sum: 1\n\n";
    assert_eq!(request.replace("\r\n", "\n"), expected);
}

#[tokio::test]
async fn a_tunnel_carries_raw_bytes_and_each_side_ends_its_own() {
    let (ours, mut endpoint) = connection().await;
    let mut exchange = Http1Exchange::fresh(ours);
    let upgrade = Some(b"echo".as_slice().into());
    exchange.send_head(&RequestHead { upgrade, ..head(http::Method::GET, BodyLength::Empty) });
    poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
    assert!(read_head(&mut endpoint).await.ends_with("connection: upgrade\nupgrade: echo\n\n"));
    let response = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly";
    endpoint.write_all(response).await.unwrap();
    let head = poll_fn(|cx| exchange.poll_head(cx)).await.unwrap();
    assert_eq!((head.status, head.fields.len()), (101, 1));
    exchange.start_tunnel();
    let data = poll_fn(|cx| exchange.poll_body(cx)).await.unwrap();
    assert_eq!(data.as_deref(), Some(&b"early"[..]));
    exchange.send_data(Bytes::from_static(b"ping"));
    exchange.send_end(None);
    poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
    let mut sent = String::new();
    endpoint.read_to_string(&mut sent).await.unwrap();
    assert_eq!(sent, "ping");
    endpoint.write_all(b"pong").await.unwrap();
    drop(endpoint);
    let data = poll_fn(|cx| exchange.poll_body(cx)).await.unwrap();
    assert_eq!(data.as_deref(), Some(&b"pong"[..]));
    assert_eq!(poll_fn(|cx| exchange.poll_body(cx)).await, Ok(None));
    assert!(exchange.into_idle().is_none());
}
