//! Clients and endpoints with both sides in between, as the relay puts them together.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::{Http1Exchange, IdleConnection};
use super::serve;
use crate::connection::{Connection, Settings, Socket, Transport, Watches, Wire};
use crate::drain::Phase;
use crate::exchange::{ClientStream, EndpointStream, Handler};
use crate::ledger::Ledger;
use crate::listener::ListenerName;
use crate::live::Live;
use crate::message::RequestHead;
use crate::overload::Pressure;

/// A relay to one endpoint, with one idle connection kept.
#[derive(Debug)]
struct Relay {
    endpoint: SocketAddr,
    idle: Mutex<Option<IdleConnection>>,
}

impl Handler for Relay {
    async fn handle<C: ClientStream>(&self, _: &Connection, head: RequestHead, client: &mut C) {
        let idle = self.idle.lock().unwrap().take().filter(|idle| !idle.is_stale());
        let mut exchange = match idle {
            Some(idle) => Http1Exchange::reused(idle),
            None => Http1Exchange::fresh(TcpStream::connect(self.endpoint).await.unwrap()),
        };
        exchange.send_head(&head);
        let mut copy = Copy { client, exchange: &mut exchange, has_sent: false, has_head: false };
        poll_fn(|cx| copy.poll(cx)).await;
        *self.idle.lock().unwrap() = exchange.into_idle();
    }
}

/// Both directions of an exchange; fails by leaving.
struct Copy<'a, C> {
    client: &'a mut C,
    exchange: &'a mut Http1Exchange,
    /// The request has been sent.
    has_sent: bool,
    /// The final head of the response has come.
    has_head: bool,
}

impl<C: ClientStream> Copy<'_, C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = self.poll_request(cx);
        let ended = self.poll_response(cx);
        let _ = self.client.poll_flush(cx);
        ended
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_sent && self.exchange.poll_ready(cx).is_ready() {
            match self.client.poll_body(cx) {
                Poll::Ready(Ok(Some(data))) => self.exchange.send_data(data),
                Poll::Ready(_) => {
                    self.has_sent = true;
                    let trailers = self.client.take_trailers();
                    self.exchange.send_end(trailers.as_ref());
                }
                Poll::Pending => break,
            }
        }
        self.exchange.poll_flush(cx).map(|_| ())
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_head {
            match self.exchange.poll_head(cx) {
                Poll::Ready(Ok(head)) if head.is_interim() => self.client.send_interim(&head),
                Poll::Ready(Ok(head)) => {
                    self.has_head = true;
                    self.client.send_head(&head);
                    if head.status == 101 {
                        self.client.start_tunnel();
                        self.exchange.start_tunnel();
                        self.has_sent = false;
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        while self.client.poll_ready(cx).is_ready() {
            match std::task::ready!(self.exchange.poll_body(cx)) {
                Ok(Some(data)) => self.client.send_data(data),
                Ok(None) => {
                    let trailers = self.exchange.take_trailers();
                    self.client.send_end(trailers.as_ref());
                    return Poll::Ready(());
                }
                Err(_) => {
                    self.client.abort();
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

/// Serves a client whose requests an endpoint receives that does what `script` says, on its first connection.
async fn relayed<F: Future<Output = ()> + Send>(script: impl FnOnce(TcpStream) -> F + Send + 'static) -> TcpStream {
    let [endpoint, server] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let relay = Relay { endpoint: endpoint.local_addr().unwrap(), idle: Mutex::default() };
    let client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let (tcp, peer) = server.accept().await.unwrap();
        let (_drain, drain) = watch::channel(Phase::Serving);
        let (settings, watches) = (Live::from(Settings::default()), Watches { drain, pressure: Pressure::new() });
        let connection = Connection {
            listener: ListenerName::ExternalHttp,
            client: peer,
            local: tcp.local_addr().unwrap(),
            tls: None,
            account: Ledger::new(u64::MAX).account(peer.ip(), false),
        };
        let wire = Wire::new(Transport::Plain(Socket::new(tcp, Bytes::new())));
        serve(wire, connection, &relay, &settings, &watches).await;
    });
    tokio::spawn(async move { script(endpoint.accept().await.unwrap().0).await });
    client
}

async fn send(tcp: &mut TcpStream, text: &str) {
    tcp.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
}

async fn expect(tcp: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.replace('\n', "\r\n").len()];
    let read = tcp.read_exact(&mut bytes).await;
    let got = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    assert!(read.is_ok() && got == text, "expected {text:?}, got {got:?}");
}

#[tokio::test]
async fn bodies_pass_in_every_pair_of_framings() {
    let length = ("content-length: 5\n", "hello");
    let chunked = ("transfer-encoding: chunked\n", "5\nhello\n0\nx-sum: 1\n\n");
    let mut client = relayed(move |mut endpoint| async move {
        for (framing, body) in [length, chunked, length, chunked] {
            expect(&mut endpoint, &format!("POST /a HTTP/1.1\nhost: a.test\n{framing}\n{body}")).await;
            let (framing, body) = if framing == length.0 { chunked } else { length };
            send(&mut endpoint, &format!("HTTP/1.1 200 OK\n{framing}\n{body}")).await;
        }
        expect(&mut endpoint, "GET /b HTTP/1.1\nhost: a.test\n\n").await;
        send(&mut endpoint, "HTTP/1.1 200 OK\n\nhello").await;
    })
    .await;
    for (framing, body) in [length, chunked, length, chunked] {
        send(&mut client, &format!("POST /a HTTP/1.1\nHost: a.test\n{framing}\n{body}")).await;
        let (framing, body) = if framing == length.0 { chunked } else { length };
        expect(&mut client, &format!("HTTP/1.1 200 OK\n{framing}connection: keep-alive\n\n{body}")).await;
    }
    send(&mut client, "GET /b HTTP/1.1\nHost: a.test\n\n").await;
    let head = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: keep-alive\n\n";
    expect(&mut client, &format!("{head}5\nhello\n0\n\n")).await;
}

#[tokio::test]
async fn interim_responses_and_100_continue_pass() {
    let mut client = relayed(|mut endpoint| async move {
        let head = "POST /a HTTP/1.1\nhost: a.test\nExpect: 100-continue\ncontent-length: 5\n\n";
        expect(&mut endpoint, &[head, "hello"].concat()).await;
        send(&mut endpoint, "HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 204 No Content\n\n").await;
    })
    .await;
    send(&mut client, "POST /a HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 5\n\n").await;
    expect(&mut client, "HTTP/1.1 100 Continue\n\n").await;
    send(&mut client, "hello").await;
    expect(&mut client, "HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 204 No Content\nconnection: keep-alive\n\n")
        .await;
}

#[tokio::test]
async fn a_tunnel_passes_both_ways_until_each_side_ends() {
    let mut client = relayed(|mut endpoint| async move {
        expect(&mut endpoint, "GET /a HTTP/1.1\nhost: a.test\nconnection: upgrade\nupgrade: echo\n\n").await;
        send(&mut endpoint, "HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: echo\n\nearly").await;
        expect(&mut endpoint, "ping").await;
        send(&mut endpoint, "pong").await;
    })
    .await;
    send(&mut client, "GET /a HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: echo\n\nping").await;
    expect(&mut client, "HTTP/1.1 101 Switching Protocols\nUpgrade: echo\nconnection: upgrade\n\nearlypong").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_large_response_is_unharmed_and_one_that_breaks_off_has_no_end() {
    let body = "0123456789abcdef".repeat(100_000);
    let sent = body.clone();
    let mut client = relayed(|mut endpoint| async move {
        expect(&mut endpoint, "GET /a HTTP/1.1\nhost: a.test\n\n").await;
        send(&mut endpoint, &format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n{sent}", sent.len())).await;
        expect(&mut endpoint, "GET /b HTTP/1.1\nhost: a.test\n\n").await;
        send(&mut endpoint, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n4\nhalf\n").await;
    })
    .await;
    send(&mut client, "GET /a HTTP/1.1\nHost: a.test\n\n").await;
    expect(&mut client, &format!("HTTP/1.1 200 OK\ncontent-length: {}\nconnection: keep-alive\n\n", body.len())).await;
    expect(&mut client, &body).await;
    send(&mut client, "GET /b HTTP/1.1\nHost: a.test\n\n").await;
    expect(&mut client, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: keep-alive\n\n4\nhalf\n").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}
