//! A server on a loopback socket, with a handler whose responses are named by paths.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::super::serve;
use crate::connection::{Connection, Settings, Socket, Transport, Watches, Wire};
use crate::drain::Phase;
use crate::exchange::{ClientError, ClientStream, Handler};
use crate::ledger::Ledger;
use crate::listener::ListenerName;
use crate::live::Live;
use crate::message::{BodyLength, Fields, RequestHead, ResponseHead};
use crate::overload::Pressure;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Limits that no test meets but the one it sets.
pub(super) fn patient() -> Settings {
    Settings { header_timeout: HOUR, idle_timeout: HOUR, write_stall_timeout: HOUR, ..Settings::default() }
}

pub(super) struct Rig {
    address: SocketAddr,
    pub(super) drain: watch::Sender<Phase>,
    pub(super) toy: Arc<Toy>,
    /// One permit for each connection that the server has left.
    pub(super) left: Arc<Semaphore>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::with(patient()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, drain_watch) = watch::channel(Phase::Serving);
        let (toy, left) = (Arc::new(Toy::default()), Arc::new(Semaphore::new(0)));
        let (handler, ended) = (Arc::clone(&toy), Arc::clone(&left));
        tokio::spawn(async move {
            let watches = Watches { drain: drain_watch, pressure: Pressure::new() };
            let settings = Live::from(settings);
            while let Ok((tcp, client)) = listener.accept().await {
                let (handler, watches, settings) = (Arc::clone(&handler), watches.clone(), settings.clone());
                let (ended, listener) = (Arc::clone(&ended), ListenerName::ExternalHttp);
                let account = Ledger::new(u64::MAX).account(client.ip(), false);
                let connection = Connection { listener, client, local: address, tls: None, account };
                tokio::spawn(async move {
                    let wire = Wire::new(Transport::Plain(Socket::new(tcp, Bytes::new())));
                    serve(wire, connection, &*handler, &settings, &watches).await;
                    ended.add_permits(1);
                });
            }
        });
        Self { address, drain, toy, left }
    }

    pub(super) async fn open(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends requests on a connection of their own, LF for CRLF, and reads to its end.
    pub(super) async fn exchange(&self, requests: &str) -> String {
        let mut tcp = self.open().await;
        send(&mut tcp, requests).await;
        read_to_end(&mut tcp).await
    }
}

/// Sends text, with LF for CRLF.
pub(super) async fn send(tcp: &mut TcpStream, text: &str) {
    tcp.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
}

/// Reads up to and including `end`, with LF for CRLF.
pub(super) async fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        match tcp.read_u8().await {
            Ok(b'\r') => {}
            Ok(byte) => text.push(char::from(byte)),
            Err(error) => panic!("{error} after {text:?}, expected {end:?}"),
        }
    }
    text
}

/// Reads until the server closes, with LF for CRLF.
pub(super) async fn read_to_end(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset, after which the bytes are what had arrived.
    let _ = tcp.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

/// Handler of the tests.
#[derive(Debug)]
pub(super) struct Toy {
    /// Heads that arrived.
    pub(super) heads: Mutex<Vec<RequestHead>>,
    /// Bodies that were read, or how they failed.
    pub(super) bodies: Mutex<Vec<Result<Vec<u8>, ClientError>>>,
    pub(super) refused: Mutex<Vec<(u16, &'static str)>>,
    /// One permit for each `/wait` that has begun; it goes on when `released` has one.
    pub(super) waiting: Semaphore,
    pub(super) released: Semaphore,
}

impl Default for Toy {
    fn default() -> Self {
        let (heads, bodies, refused) = Default::default();
        Self { heads, bodies, refused, waiting: Semaphore::new(0), released: Semaphore::new(0) }
    }
}

impl Handler for Toy {
    async fn handle<C: ClientStream>(&self, _: &Connection, head: RequestHead, client: &mut C) {
        self.heads.lock().unwrap().push(head.clone());
        let path = String::from_utf8_lossy(head.path()).into_owned();
        match path.as_str() {
            "/echo" => self.echo(head, client).await,
            "/stream" => respond(client, BodyLength::Unknown, &["hello ", "world"]).await,
            "/sum" => respond_with_trailers(client),
            "/abort" => {
                client.send_head(&ResponseHead::new(200, BodyLength::Unknown));
                client.send_data(Bytes::from_static(b"half"));
                client.abort();
            }
            "/endless" => endless(client).await,
            "/wait" => {
                self.waiting.add_permits(1);
                tokio::select! {
                    permit = self.released.acquire() => permit.unwrap().forget(),
                    error = poll_fn(|cx| client.poll_gone(cx)) => return self.note(Err(error)),
                }
                respond(client, BodyLength::Exact(6), &["waited"]).await;
            }
            "/hints" => {
                client.send_interim(&ResponseHead::new(100, BodyLength::Empty));
                let mut head = ResponseHead::new(103, BodyLength::Empty);
                head.fields.append(b"link", b"</a>");
                client.send_interim(&head);
                respond(client, BodyLength::Exact(2), &["ok"]).await;
            }
            "/tunnel" => self.tunnel(client).await,
            "/204" => client.send_head(&ResponseHead::new(204, BodyLength::Unknown)),
            "/close" => {
                client.close_after_response();
                respond(client, BodyLength::Exact(2), &["ok"]).await;
            }
            "/nothing" => {}
            _ => {
                let body = format!("hello {path}");
                respond(client, BodyLength::Exact(body.len() as u64), &[&body]).await;
            }
        }
    }

    fn refused(&self, _: &Connection, status: u16, reason: &'static str) {
        self.refused.lock().unwrap().push((status, reason));
    }
}

impl Toy {
    fn note(&self, body: Result<Vec<u8>, ClientError>) {
        self.bodies.lock().unwrap().push(body);
    }

    /// Sends back the body as it comes, and its trailers.
    async fn echo<C: ClientStream>(&self, head: RequestHead, client: &mut C) {
        let mut body = Vec::new();
        let first = poll_fn(|cx| client.poll_body(cx)).await;
        if let Err(error) = first {
            self.note(Err(error));
            return client.send_head(&ResponseHead::new(400, BodyLength::Empty));
        }
        client.send_head(&ResponseHead::new(200, head.body));
        let mut next = first;
        loop {
            match next {
                Ok(Some(data)) => {
                    body.extend_from_slice(&data);
                    if poll_fn(|cx| client.poll_ready(cx)).await.is_err() {
                        return;
                    }
                    client.send_data(data);
                    let _ = poll_fn(|cx| client.poll_flush(cx)).await;
                }
                Ok(None) => break,
                Err(error) => return self.note(Err(error)),
            }
            next = poll_fn(|cx| client.poll_body(cx)).await;
        }
        self.note(Ok(body));
        let trailers = client.take_trailers();
        client.send_end(trailers.as_ref());
    }

    async fn tunnel<C: ClientStream>(&self, client: &mut C) {
        let mut head = ResponseHead::new(101, BodyLength::Empty);
        head.fields.append(b"upgrade", b"echo");
        client.send_head(&head);
        client.start_tunnel();
        let mut all = Vec::new();
        while let Ok(Some(data)) = poll_fn(|cx| client.poll_body(cx)).await {
            all.extend_from_slice(&data);
            client.send_data(data);
            poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
        }
        client.send_data(Bytes::from_static(b"bye"));
        client.send_end(None);
        poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
        self.note(Ok(all));
    }
}

async fn respond<C: ClientStream>(client: &mut C, length: BodyLength, chunks: &[&str]) {
    client.send_head(&ResponseHead::new(200, length));
    for chunk in chunks {
        poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
        client.send_data(Bytes::copy_from_slice(chunk.as_bytes()));
    }
    client.send_end(None);
}

fn respond_with_trailers<C: ClientStream>(client: &mut C) {
    let mut trailers = Fields::default();
    trailers.append(b"x-sum", b"1");
    client.send_head(&ResponseHead::new(200, BodyLength::Unknown));
    client.send_data(Bytes::from_static(b"body"));
    client.send_end(Some(&trailers));
}

/// Sends until the client fails.
async fn endless<C: ClientStream>(client: &mut C) {
    client.send_head(&ResponseHead::new(200, BodyLength::Unknown));
    while poll_fn(|cx| client.poll_ready(cx)).await.is_ok() {
        client.send_data(Bytes::from_static(&[b'x'; crate::exchange::side::CHUNK]));
    }
}
