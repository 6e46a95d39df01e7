//! The backend and the clients, face to face.

use super::*;
use crate::client::raw::{Head, exchange};
use crate::client::websocket::WebSocket;
use crate::client::{Call, Connection, Reply, get_plain};
use crate::grpc::{ChatClient, GrpcBackend, Line};
use crate::patience::eventually;

#[tokio::test]
async fn a_backend_reports_what_it_saw() {
    let backend = Backend::http1("shop").await.unwrap();
    let seen = get_plain(backend.address(), "/cart?x=1").await.unwrap().seen().unwrap();
    assert_eq!((seen.backend.as_str(), seen.target.as_str(), seen.version.as_str()), ("shop", "/cart?x=1", "HTTP/1.1"));
    assert_eq!(seen.host, backend.address().to_string());
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_backend_for_h2c_understands_http2_only() {
    let backend = Backend::h2c("shop").await.unwrap();
    assert!(get_plain(backend.address(), "/").await.is_err());
    let stream = TcpStream::connect(backend.address()).await.unwrap();
    let mut connection = Connection::open(stream, true).await.unwrap();
    let response = connection.send(&Call::get("http://shop.test/")).await.unwrap();
    let seen = Reply::read(response).await.unwrap().seen().unwrap();
    assert_eq!((seen.host.as_str(), seen.version.as_str()), ("shop.test", "HTTP/2.0"));
}

#[tokio::test]
async fn a_held_request_waits_for_its_permit() {
    let backend = Backend::http1("shop").await.unwrap();
    let address = backend.address();
    let held = tokio::spawn(async move { get_plain(address, "/-/hold").await });
    eventually("it waits", async || crate::ensure(backend.waiting() == 1, || "not yet".to_owned())).await.unwrap();
    assert!(!held.is_finished());
    backend.permit(1);
    assert_eq!(held.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_stopped_backend_refuses_and_can_come_back() {
    let address = Backend::http1("shop").await.unwrap().stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let _back = Backend::start_at(address, "shop", Speaks::Http1).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(matches!(exchange(address, request).await.unwrap(), Head::Status(200, _)));
}

#[tokio::test]
async fn a_websocket_echoes() {
    let backend = Backend::http1("shop").await.unwrap();
    let stream = TcpStream::connect(backend.address()).await.unwrap();
    WebSocket::open(stream, "ws://shop.test/").await.unwrap().echo("hello").await.unwrap();
}

#[tokio::test]
async fn the_chat_answers_and_fails_as_asked() {
    let backend = GrpcBackend::start().await.unwrap();
    let mut client = ChatClient::connect(backend.address(), "chat.test", None).await.unwrap();
    assert_eq!(client.say("hello").await.unwrap(), "re: hello");
    let status = client.say("fail").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert_eq!(status.metadata().get("x-reason").unwrap(), "because");
    let lines = futures_util::stream::iter(["one", "two", "bye"].map(Line::new));
    let mut answers = client.talk(lines).await.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(Line::new("re: one")));
    assert_eq!(answers.message().await.unwrap(), Some(Line::new("re: two")));
    assert_eq!(answers.message().await.unwrap(), None);
}
