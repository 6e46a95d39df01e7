//! What the tests of this module share: a server with a toy handler, and raw frames.

use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::connection::{Connection, Settings, Socket, Transport, Watches, Wire};
use crate::drain::Phase;
use crate::exchange::side::CHUNK;
use crate::exchange::{ClientError, ClientStream, Handler};
use crate::ledger::Ledger;
use crate::listener::{Admission, Limits, ListenerName};
use crate::live::Live;
use crate::message::{BodyLength, Name, RequestHead, ResponseHead};
use crate::overload::Pressure;

/// A frame as it goes over the wire.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A handler that does what the path says.
#[derive(Debug, Default)]
pub(super) struct Toy {
    /// Requests that are being handled.
    pub(super) busy: AtomicUsize,
    /// Errors that clients' streams ended with.
    pub(super) errors: std::sync::Mutex<Vec<ClientError>>,
}

impl Handler for Toy {
    async fn handle<C: ClientStream>(&self, _: &Connection, head: RequestHead, client: &mut C) {
        self.busy.fetch_add(1, Relaxed);
        let _busy = Busy(&self.busy);
        if let Err(error) = answer(&head, client).await {
            self.errors.lock().expect("no test panics while it holds it").push(error);
        }
    }
}

struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn answer<C: ClientStream>(head: &RequestHead, client: &mut C) -> Result<(), ClientError> {
    let path = std::str::from_utf8(head.path()).expect("tests ask in ASCII").to_owned();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|number| number.parse().ok());
    if let Some(bytes) = number("/large/") {
        return respond(client, &vec![b'x'; bytes], BodyLength::Exact(bytes as u64)).await;
    }
    match path.as_str() {
        "/echo" => echo(client).await,
        "/head" => {
            let text = describe(head);
            respond(client, text.as_bytes(), BodyLength::Exact(text.len() as u64)).await
        }
        "/hints" => {
            let mut hints = ResponseHead::new(103, BodyLength::Empty);
            hints.fields.append(b"link", b"</a.css>; rel=preload");
            client.send_interim(&hints);
            respond(client, b"hinted", BodyLength::Unknown).await
        }
        "/early" => respond(client, b"enough", BodyLength::Exact(6)).await,
        "/abort" => {
            client.send_head(&ResponseHead::new(200, BodyLength::Exact(100)));
            send(client, b"12345").await?;
            client.abort();
            Ok(())
        }
        "/abort-head" => {
            client.send_head(&ResponseHead::new(200, BodyLength::Exact(100)));
            client.abort();
            Ok(())
        }
        "/nothing" => Ok(()),
        "/empty" => {
            let mut head = ResponseHead::new(204, BodyLength::Empty);
            head.fields.append(b"Connection", b"close");
            head.fields.append(b"X-Upper", b"Value");
            client.send_head(&head);
            Ok(())
        }
        "/late" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            echo(client).await
        }
        "/until-gone" => Err(poll_fn(|cx| client.poll_gone(cx)).await),
        "/busy" => loop {
            tokio::task::yield_now().await;
        },
        "/chat" if head.upgrade.is_some() => {
            client.send_head(&ResponseHead::new(101, BodyLength::Unknown));
            client.start_tunnel();
            copy_back(client).await
        }
        _ => pending().await,
    }
}

/// Sends the request's body and trailers back once all of it has come.
async fn echo<C: ClientStream>(client: &mut C) -> Result<(), ClientError> {
    let mut body = Vec::new();
    while let Some(data) = poll_fn(|cx| client.poll_body(cx)).await? {
        assert!(data.len() <= CHUNK, "{}", data.len());
        body.extend_from_slice(&data);
    }
    let trailers = client.take_trailers();
    client.send_head(&ResponseHead::new(200, BodyLength::Unknown));
    for chunk in body.chunks(CHUNK) {
        send(client, chunk).await?;
    }
    client.send_end(trailers.as_ref());
    poll_fn(|cx| client.poll_flush(cx)).await
}

/// Sends back what comes as it comes.
async fn copy_back<C: ClientStream>(client: &mut C) -> Result<(), ClientError> {
    poll_fn(|cx| client.poll_flush(cx)).await?;
    while let Some(data) = poll_fn(|cx| client.poll_body(cx)).await? {
        send(client, &data).await?;
        poll_fn(|cx| client.poll_flush(cx)).await?;
    }
    client.send_end(None);
    poll_fn(|cx| client.poll_flush(cx)).await
}

async fn respond<C: ClientStream>(client: &mut C, body: &[u8], length: BodyLength) -> Result<(), ClientError> {
    client.send_head(&ResponseHead::new(200, length));
    for chunk in body.chunks(CHUNK) {
        send(client, chunk).await?;
    }
    client.send_end(None);
    poll_fn(|cx| client.poll_flush(cx)).await
}

async fn send<C: ClientStream>(client: &mut C, data: &[u8]) -> Result<(), ClientError> {
    poll_fn(|cx| client.poll_ready(cx)).await?;
    client.send_data(Bytes::copy_from_slice(data));
    Ok(())
}

/// The head as text: a line for each part.
fn describe(head: &RequestHead) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines = vec![format!("{} {} {}", head.method, text(&head.target), text(&head.authority))];
    lines.extend(head.fields.iter().map(|field| format!("{}: {}", text(field.name), text(field.value))));
    if head.fields.contains(Name::Host) {
        lines.push("hosts differ".to_owned());
    }
    lines.join("\n")
}

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) toy: Arc<Toy>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) pressure: Pressure,
    pub(super) ledger: Ledger,
}

impl Server {
    /// Serves until the test's runtime ends.
    pub(super) async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (phase, drain) = watch::channel(Phase::Serving);
        let pressure = Pressure::new();
        let (toy, watches) = (Arc::<Toy>::default(), Watches { drain, pressure: pressure.clone() });
        let admission = Admission::new(Limits::default());
        let ledger = admission.ledger().clone();
        let server = Self { address, toy: Arc::clone(&toy), phase, pressure, ledger };
        tokio::spawn(async move {
            let settings = Live::from(settings);
            while let Ok((tcp, client)) = listener.accept().await {
                let (toy, settings, watches) = (Arc::clone(&toy), settings.clone(), watches.clone());
                let mut permit = admission.admit(ListenerName::ExternalHttp).expect("there is room");
                let account = permit.from_source(client.ip()).expect("there is room");
                let listener = ListenerName::ExternalHttp;
                let connection = Connection { listener, client, local: address, tls: None, account };
                let wire = Wire::new(Transport::Plain(Socket::new(tcp, Bytes::new())));
                tokio::spawn(async move {
                    super::serve(wire, connection, &*toy, &permit, &settings, &watches).await;
                });
            }
        });
        server
    }

    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Connects a client that its own task drives.
    pub(super) async fn connect(&self) -> h2::client::SendRequest<Bytes> {
        self.connect_with(&h2::client::Builder::new()).await
    }

    pub(super) async fn connect_with(&self, builder: &h2::client::Builder) -> h2::client::SendRequest<Bytes> {
        let (requests, connection) = builder.handshake(self.tcp().await).await.expect("the server answers");
        tokio::spawn(connection);
        requests.ready().await.expect("the server takes requests")
    }
}
