//! The client's side of an exchange: streams of a connection, against `h2`'s client.

use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connection::{Http2Settings, Settings};
use crate::drain::Phase;
use crate::exchange::ClientError;
use crate::http2::frame::PREFACE;
use crate::http2::testing::{Server, frame};
use crate::overload::Stage;

type Requests = SendRequest<Bytes>;

async fn start() -> (Server, Requests) {
    let server = Server::start(Settings::default()).await;
    let requests = server.connect().await;
    (server, requests)
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://shop.test{path}")).body(()).unwrap()
}

fn get(requests: &mut Requests, path: &str) -> ResponseFuture {
    requests.send_request(request(Method::GET, path), true).unwrap().0
}

fn post(requests: &mut Requests, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    requests.send_request(request(Method::POST, path), false).unwrap()
}

/// Reads a body, and gives its window back.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    Ok(read)
}

async fn text(response: ResponseFuture) -> String {
    String::from_utf8(read(response.await.unwrap().body_mut()).await.unwrap()).unwrap()
}

/// Sends as the window allows.
async fn send(stream: &mut SendStream<Bytes>, data: &[u8], is_last: bool) {
    let mut rest = Bytes::copy_from_slice(data);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let part = rest.split_to(room.min(rest.len()));
        stream.send_data(part, is_last && rest.is_empty()).unwrap();
    }
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let check = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), check).await.expect("within ten seconds");
}

#[tokio::test]
async fn a_request_reaches_the_handler_as_it_was_sent_with_its_cookie_crumbs_joined() {
    let (_server, mut requests) = start().await;
    let mut asked = request(Method::GET, "/head?a=%22&b=c|d");
    for (name, value) in [("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let response = requests.send_request(asked, true).unwrap().0;
    let expected = "GET /head?a=%22&b=c|d shop.test\nx-one: 1\ncookie: a=1; b=2\nte: trailers";
    assert_eq!(text(response).await, expected);
}

#[tokio::test]
async fn a_host_that_is_not_the_authority_is_left_for_the_handler_to_refuse() {
    let (_server, mut requests) = start().await;
    for (host, is_left) in [("shop.test", false), ("SHOP.test", false), ("other.test", true)] {
        let mut asked = request(Method::GET, "/head");
        asked.headers_mut().insert("host", host.parse().unwrap());
        let response = requests.send_request(asked, true).unwrap().0;
        assert_eq!(text(response).await.contains("hosts differ"), is_left, "{host}");
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions_whatever_their_size() {
    let (_server, mut requests) = start().await;
    for size in [0, 1, 16_384, 16_385, 1_000_000] {
        let (response, mut stream) = post(&mut requests, "/echo");
        send(&mut stream, &vec![b'y'; size], false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        let mut response = response.await.unwrap();
        assert_eq!(read(response.body_mut()).await.unwrap().len(), size);
        let trailers = response.body_mut().trailers().await.unwrap().unwrap();
        assert_eq!(trailers["x-checksum"], "abc");
    }
}

#[tokio::test]
async fn ten_streams_are_served_side_by_side() {
    let (_server, mut requests) = start().await;
    let large = (0..10).map(|_| text(get(&mut requests, "/large/300000")));
    for text in join_all(large).await {
        assert_eq!(text.len(), 300_000);
    }
}

#[tokio::test]
async fn a_stream_without_a_body_ends_with_its_head_and_carries_no_field_of_a_connection() {
    let (_server, mut requests) = start().await;
    let response = get(&mut requests, "/empty").await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(response.body().is_end_stream() && !response.headers().contains_key("connection"));
    assert_eq!(response.headers()["x-upper"], "Value");
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let (_server, mut requests) = start().await;
    let mut response = get(&mut requests, "/hints");
    let hints = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(
        (hints.status(), &hints.headers()["link"]),
        (StatusCode::EARLY_HINTS, &"</a.css>; rel=preload".parse().unwrap())
    );
    assert_eq!(text(response).await, "hinted");
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on_when_its_body_is_read() {
    let (_server, mut requests) = start().await;
    let mut asked = request(Method::POST, "/echo");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut stream) = requests.send_request(asked, false).unwrap();
    let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), StatusCode::CONTINUE);
    send(&mut stream, b"go", true).await;
    assert_eq!(text(response).await, "go");
}

#[tokio::test]
async fn a_response_that_cannot_be_completed_is_reset_after_what_was_sent() {
    let (_server, mut requests) = start().await;
    for (path, sent) in [("/abort", &b"12345"[..]), ("/abort-head", b"")] {
        let mut response = get(&mut requests, path).await.unwrap();
        let (mut read, error) = (
            Vec::new(),
            loop {
                match response.body_mut().data().await.unwrap() {
                    Ok(data) if data == sent => {}
                    Ok(data) => panic!("{data:?}"),
                    Err(error) => break error,
                }
            },
        );
        read.extend_from_slice(sent);
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
    }
    let error = get(&mut requests, "/nothing").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_is_complete_and_the_rest_is_refused_without_error() {
    let (_server, mut requests) = start().await;
    let (response, mut stream) = post(&mut requests, "/early");
    assert_eq!(text(response).await, "enough");
    let reason = poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    assert_eq!(text(get(&mut requests, "/large/5")).await, "xxxxx");
}

#[tokio::test]
async fn the_handler_learns_that_a_client_has_reset_its_stream() {
    let (server, mut requests) = start().await;
    let (response, mut stream) = post(&mut requests, "/until-gone");
    eventually(|| server.toy.busy.load(Relaxed) == 1).await;
    stream.send_reset(Reason::CANCEL);
    drop(response);
    eventually(|| server.toy.busy.load(Relaxed) == 0).await;
    assert_eq!(*server.toy.errors.lock().unwrap(), [ClientError::Gone]);
}

#[tokio::test]
async fn an_extended_connect_becomes_a_tunnel() {
    let (_server, requests) = start().await;
    eventually(|| requests.is_extended_connect_protocol_enabled()).await;
    let mut asked = request(Method::CONNECT, "/chat");
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut stream) = requests.clone().send_request(asked, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    for word in ["ping", "pong"] {
        send(&mut stream, word.as_bytes(), false).await;
        assert_eq!(body.data().await.unwrap().unwrap(), word);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(read(&mut body).await.unwrap().is_empty());
}

#[tokio::test]
async fn twenty_thousand_small_messages_pass_also_where_the_handler_reads_late() {
    let (_server, mut requests) = start().await;
    let (response, mut stream) = post(&mut requests, "/echo");
    for _ in 0..20_000 {
        send(&mut stream, b"0123456789", false).await;
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(text(response).await.len(), 200_000);
}

#[tokio::test]
async fn a_body_of_single_bytes_that_nobody_reads_disturbs_no_other_stream() {
    let (server, mut requests) = start().await;
    let (_response, mut stream) = post(&mut requests, "/until-gone");
    for _ in 0..30_000 {
        send(&mut stream, b"1", false).await;
    }
    assert_eq!(text(get(&mut requests, "/large/5")).await, "xxxxx");
    assert_eq!(server.toy.busy.load(Relaxed), 1);
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_times_out_and_sooner_while_memory_is_short() {
    let settings = Settings { write_stall_timeout: Duration::from_secs(60), ..Settings::default() };
    let server = Server::start(settings).await;
    server.pressure.set(Stage::Shrink);
    let mut requests = server.connect_with(h2::client::Builder::new().initial_window_size(10)).await;
    let response = get(&mut requests, "/large/1000").await.unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    while server.toy.errors.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(*server.toy.errors.lock().unwrap(), [ClientError::TimedOut]);
    assert!((9..=16).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(response);
}

#[tokio::test]
async fn a_draining_connection_serves_what_it_has_and_ends() {
    let (server, mut requests) = start().await;
    let (response, mut stream) = post(&mut requests, "/echo");
    eventually(|| server.toy.busy.load(Relaxed) == 1).await;
    server.phase.send_replace(Phase::Draining);
    eventually(|| requests.send_request(request(Method::GET, "/head"), true).is_err()).await;
    send(&mut stream, b"still here", true).await;
    assert_eq!(text(response).await, "still here");
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_after_a_while() {
    let http2 = Http2Settings { idle_timeout: Duration::from_millis(50), ..Http2Settings::default() };
    let server = Server::start(Settings { http2, ..Settings::default() }).await;
    let (requests, connection) = h2::client::handshake(server.tcp().await).await.unwrap();
    timeout(Duration::from_secs(10), connection).await.unwrap().unwrap();
    drop::<SendRequest<Bytes>>(requests);
}

#[tokio::test]
async fn a_stream_that_never_rests_does_not_keep_others_from_being_served() {
    let (_server, mut requests) = start().await;
    let _busy: Vec<_> = (0..50).map(|_| get(&mut requests, "/busy")).collect();
    assert_eq!(text(get(&mut requests, "/large/5")).await, "xxxxx");
}

/// Sends raw bytes after the preface and returns the frames that come back until the connection ends: kind and last four bytes.
async fn frames_after(server: &Server, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut tcp = server.tcp().await;
    tcp.write_all(PREFACE).await.unwrap();
    tcp.write_all(&frame(0x4, 0, 0, &[])).await.unwrap();
    // It may be cut off while it sends.
    let _ = tcp.write_all(bytes).await;
    let mut read = Vec::new();
    let _ = timeout(Duration::from_millis(500), tcp.read_to_end(&mut read)).await;
    let mut frames = Vec::new();
    while let [l0, l1, l2, kind, _, _, _, _, _, rest @ ..] = &read[..] {
        let length = usize::from(*l0) << 16 | usize::from(*l1) << 8 | usize::from(*l2);
        frames.push((*kind, rest[..length].to_vec()));
        read.drain(..9 + length);
    }
    frames
}

#[tokio::test]
async fn floods_are_answered_with_enhance_your_calm() {
    let server = Server::start(Settings::default()).await;
    for flood in [frame(0x6, 0, 0, &[7; 8]), frame(0x4, 0, 0, &[])] {
        let frames = frames_after(&server, &flood.repeat(5_000)).await;
        let (_, payload) = frames.iter().find(|(kind, _)| *kind == 0x7).expect("GOAWAY");
        assert_eq!(payload[4..8], [0, 0, 0, 11]);
    }
}

#[tokio::test]
async fn malformed_requests_are_reset_and_the_connection_goes_on() {
    let server = Server::start(Settings::default()).await;
    // Of the static table: GET, http; `:path` and `:authority` are literals.
    let head = |fields: &[u8]| [&[0x82, 0x86, 0x01, 1, b'a'][..], fields].concat();
    let good = head(&[0x04, 6, b'/', b'e', b'm', b'p', b't', b'y']);
    for (name, bad) in [
        ("connection-specific field", head(b"\x04\x01/\x00\x0akeep-alive\x011")),
        ("te that is not trailers", head(b"\x04\x01/\x00\x02te\x04gzip")),
        ("path without slash", head(b"\x04\x01a")),
        ("asterisk", head(b"\x04\x01*")),
        ("no path", head(b"")),
        ("lengths that differ", head(b"\x04\x01/\x00\x0econtent-length\x011\x00\x0econtent-length\x012")),
        ("less than in a path", head(b"\x04\x02/<")),
    ] {
        let bytes = [frame(0x1, 0x5, 1, &bad), frame(0x1, 0x5, 3, &good)].concat();
        let frames = frames_after(&server, &bytes).await;
        let resets: Vec<_> = frames.iter().filter(|(kind, _)| *kind == 0x3).map(|(_, payload)| payload[3]).collect();
        assert_eq!(resets, [1], "{name}: {frames:?}");
        assert!(frames.iter().any(|(kind, _)| *kind == 0x1), "{name}: the next request is answered");
    }
}
