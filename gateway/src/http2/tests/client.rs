//! The endpoint's side of an exchange: streams on a shared connection, against `h2`'s server.

use std::future::{pending, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::{Method, Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::exchange::{EndpointError, EndpointStream};
use crate::http2::client::{Handle, Http2Exchange, connect};
use crate::message::{BodyLength, Fields, RequestHead, ResponseHead, Version};

const PING: Duration = Duration::from_secs(20);

type Respond = SendResponse<Bytes>;

/// A connection to an endpoint that does what the path says.
async fn start() -> Handle {
    start_with(Builder::new()).await
}

async fn start_with(builder: Builder) -> Handle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut connection = builder.handshake::<_, Bytes>(tcp).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            match request.uri().path() {
                "/goaway" => connection.abrupt_shutdown(Reason::NO_ERROR),
                "/graceful" => {
                    connection.graceful_shutdown();
                    respond.send_response(Response::new(()), true).unwrap();
                }
                "/broken" => return,
                _ => drop(tokio::spawn(answer(request, respond))),
            }
        }
    });
    connect(tcp, PING).await.unwrap()
}

async fn answer(request: Request<h2::RecvStream>, mut respond: Respond) {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(size) = path.strip_prefix("/large/").and_then(|size| size.parse().ok()) {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        return send(&mut stream, Bytes::from(vec![b'x'; size]), 16_384).await;
    }
    match path {
        "/small" => {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            send(&mut stream, Bytes::from(vec![b'x'; 30_000]), 5).await;
        }
        "/head" => {
            let text = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            send(&mut stream, text.into(), 16_384).await;
        }
        "/echo" => {
            let mut all = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
            }
            let trailers = body.trailers().await.unwrap().unwrap_or_default();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(all.into(), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        }
        "/trailers-only" => {
            let response = Response::builder().header("grpc-status", "12").body(()).unwrap();
            respond.send_response(response, true).unwrap();
        }
        "/length" => {
            let response = Response::builder().header("content-length", "5").body(()).unwrap();
            let ends = parts.method == Method::HEAD;
            let mut stream = respond.send_response(response, ends).unwrap();
            if !ends {
                stream.send_data("12345".into(), true).unwrap();
            }
        }
        "/hints" => {
            respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        }
        "/refused" => respond.send_reset(Reason::REFUSED_STREAM),
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/until-reset" => {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            assert_eq!(reason, Reason::CANCEL);
        }
        _ => pending().await,
    }
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut data: Bytes, frame: usize) {
    while !data.is_empty() {
        stream.reserve_capacity(frame.min(data.len()));
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let part = data.split_to(room.min(frame).min(data.len()));
        if stream.send_data(part, data.is_empty()).is_err() {
            return;
        }
    }
}

fn head(method: Method, target: &str) -> RequestHead {
    RequestHead::new(Version::Http11, method, b"shop.test", target.as_bytes())
}

fn open(handle: &Handle, head: &RequestHead) -> Http2Exchange {
    let mut exchange = handle.open(false).expect("the connection is usable");
    exchange.send_head(head);
    exchange
}

fn get(handle: &Handle, target: &str) -> Http2Exchange {
    open(handle, &head(Method::GET, target))
}

async fn next_head(exchange: &mut Http2Exchange) -> Result<ResponseHead, EndpointError> {
    timeout(Duration::from_secs(10), poll_fn(|cx| exchange.poll_head(cx))).await.expect("a head or an error")
}

async fn body(exchange: &mut Http2Exchange) -> Result<String, EndpointError> {
    let mut read = Vec::new();
    while let Some(data) = poll_fn(|cx| exchange.poll_body(cx)).await? {
        read.extend_from_slice(&data);
    }
    Ok(String::from_utf8(read).unwrap())
}

async fn error_of(handle: &Handle, target: &str) -> EndpointError {
    next_head(&mut get(handle, target)).await.unwrap_err()
}

#[tokio::test]
async fn a_request_reaches_the_endpoint_as_http2_has_it() {
    let handle = start().await;
    let mut asked = head(Method::GET, "/head?q=\"<\u{e4}>`");
    for (name, value) in [("X-One", "1"), ("Connection", "close"), ("Keep-Alive", "5"), ("te", "gzip")] {
        asked.fields.append(name.as_bytes(), value.as_bytes());
    }
    asked.takes_trailers = true;
    let mut exchange = open(&handle, &asked);
    assert_eq!(next_head(&mut exchange).await.unwrap().status, 200);
    let text = body(&mut exchange).await.unwrap();
    let (line, fields) = text.split_once(" {").unwrap();
    assert_eq!(fields, r#""x-one": "1", "te": "trailers"}"#);
    assert!(line.starts_with("GET http://shop.test/head?q="), "{line}");
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions() {
    let handle = start().await;
    for length in [BodyLength::Exact(20_000), BodyLength::Unknown] {
        let mut exchange = open(&handle, &RequestHead { body: length, ..head(Method::POST, "/echo") });
        for chunk in vec![b'y'; 20_000].chunks(16_384) {
            poll_fn(|cx| exchange.poll_ready(cx)).await.unwrap();
            exchange.send_data(Bytes::copy_from_slice(chunk));
        }
        let mut trailers = Fields::default();
        trailers.append(b"X-Checksum", b"abc");
        exchange.send_end(Some(&trailers));
        poll_fn(|cx| exchange.poll_flush(cx)).await.unwrap();
        assert_eq!(next_head(&mut exchange).await.unwrap().body, BodyLength::Unknown);
        assert_eq!(body(&mut exchange).await.unwrap().len(), 20_000);
        let trailers = exchange.take_trailers().unwrap();
        assert_eq!(trailers.get_all_named("x-checksum").collect::<Vec<_>>(), [b"abc"]);
    }
}

#[tokio::test]
async fn a_response_says_how_long_its_body_is() {
    let handle = start().await;
    for (method, target, length, text) in [
        (Method::GET, "/length", BodyLength::Exact(5), "12345"),
        (Method::HEAD, "/length", BodyLength::Empty, ""),
        (Method::GET, "/trailers-only", BodyLength::Empty, ""),
        (Method::GET, "/large/7", BodyLength::Unknown, "xxxxxxx"),
    ] {
        let mut exchange = open(&handle, &head(method, target));
        assert_eq!(next_head(&mut exchange).await.unwrap().body, length, "{target}");
        assert_eq!(body(&mut exchange).await.unwrap(), text, "{target}");
    }
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let handle = start().await;
    let mut exchange = get(&handle, "/hints");
    for status in [103, 200] {
        assert_eq!(next_head(&mut exchange).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn errors_say_whether_the_request_was_processed() {
    let handle = start().await;
    assert_eq!(error_of(&handle, "/refused").await, EndpointError::NotProcessed);
    assert_eq!(error_of(&handle, "/reset").await, EndpointError::Broken);
    assert!(handle.is_usable(), "other streams are not concerned");
    assert_eq!(error_of(&handle, "/broken").await, EndpointError::Broken);
    assert!(!handle.is_usable() && handle.open(true).is_none());
}

#[tokio::test]
async fn after_a_goaway_what_was_left_out_was_not_processed_and_the_rest_is() {
    let handle = start().await;
    let mut exchange = get(&handle, "/graceful");
    assert_eq!(next_head(&mut exchange).await.unwrap().status, 200);
    let closed = async {
        while handle.is_usable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.unwrap();
}

#[tokio::test]
async fn an_exchange_that_is_dropped_resets_its_stream_alone() {
    let handle = start().await;
    let exchange = get(&handle, "/until-reset");
    assert_eq!(handle.streams(), 1);
    drop(exchange);
    assert_eq!(handle.streams(), 0);
    let mut exchange = get(&handle, "/large/5");
    next_head(&mut exchange).await.unwrap();
    assert_eq!(body(&mut exchange).await.unwrap(), "xxxxx");
}

#[tokio::test]
async fn clients_that_do_not_read_hold_back_nobody_else() {
    let handle = start().await;
    let mut stalled = Vec::new();
    for n in 0..99 {
        let mut exchange = get(&handle, if n % 2 == 0 { "/large/1000000" } else { "/small" });
        next_head(&mut exchange).await.unwrap();
        stalled.push(exchange);
    }
    for target in ["/large/1000000", "/small"] {
        let mut exchange = get(&handle, target);
        next_head(&mut exchange).await.unwrap();
        assert!(body(&mut exchange).await.unwrap().len() >= 30_000);
    }
}

#[tokio::test]
async fn a_connection_takes_as_many_streams_as_both_sides_allow() {
    for (limit, most) in [(None, 100), (Some(3), 3)] {
        let mut builder = Builder::new();
        if let Some(limit) = limit {
            builder.max_concurrent_streams(limit);
        }
        let handle = start_with(builder).await;
        // The endpoint's settings have arrived.
        next_head(&mut get(&handle, "/trailers-only")).await.unwrap();
        let open: Vec<_> = (0..most).map(|_| get(&handle, "/large/1")).collect();
        assert!(!handle.is_usable());
        drop(open);
        assert!(handle.is_usable());
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_pinged_once_and_given_up_if_it_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    let handle = connect(tcp, PING).await.unwrap();
    let mut exchange = get(&handle, "/silent");
    tokio::spawn(async move { while endpoint.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} });
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = poll_fn(|cx| exchange.poll_head(cx)).await.unwrap_err();
    assert_eq!(error, EndpointError::Broken);
    assert!((began.elapsed().as_secs_f32() - 2.0 * PING.as_secs_f32()).abs() < 1.0, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_answers_pings_may_be_silent_for_hours() {
    let handle = start().await;
    let mut exchange = get(&handle, "/pending");
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::pause();
    let waited = timeout(Duration::from_secs(3 * 3_600), poll_fn(|cx| exchange.poll_head(cx))).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn the_connection_ends_with_its_handle_and_its_last_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (endpoint, _) = listener.accept().await.unwrap();
    let handle = connect(tcp, PING).await.unwrap();
    let mut connection = h2::server::handshake(endpoint).await.unwrap() as h2::server::Connection<_, Bytes>;
    drop(handle);
    let ended = timeout(Duration::from_secs(10), connection.accept()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "no request comes");
}
