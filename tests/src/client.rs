//! Clients: a request to a gateway, by any protocol, to any address, under any name.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::backend::Seen;
use crate::gateway::Gateway;
use crate::patience::PATIENCE;
use crate::{Result, ensure};

mod connection;
pub mod frames;
pub mod hello;
pub mod raw;
pub mod sources;
pub mod tls;
pub mod tools;
pub mod websocket;

pub use connection::{Connection, Pending};
pub use tls::{Peer, TlsClient};

/// A byte stream to a gateway, plain or encrypted.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A request, and how to make it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Call {
    method: Method,
    tls: bool,
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    http2: bool,
    server_name: Option<String>,
    listener: Option<&'static str>,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The version of HTTP of the answer.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// GET of a URL such as `https://shop.test/cart?x=1`. The scheme picks the external listener.
    ///
    /// # Panics
    /// If the URL has another scheme than http or https.
    pub fn get(url: &str) -> Self {
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => panic!("{url} is not http or https"),
        };
        let (host, target) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        Self {
            method: Method::GET,
            tls,
            host: host.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            http2: false,
            server_name: None,
            listener: None,
        }
    }

    /// POST of a body to a URL.
    pub fn post(url: &str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(url) }
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// By HTTP/2: by ALPN with TLS, with prior knowledge without.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// With another server name than the URL's host.
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    /// On this listener instead of the external one.
    pub fn on(mut self, listener: &'static str) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Makes the request on a connection of its own.
    pub async fn send(&self, gateway: &Gateway, tls: &TlsClient) -> Result<Reply> {
        Reply::read(self.open(gateway, tls).await?).await
    }

    /// Makes the request on a connection of its own and returns when the header of the answer is there.
    pub async fn open(&self, gateway: &Gateway, tls: &TlsClient) -> Result<Response<Incoming>> {
        self.connect(gateway, tls).await?.send(self).await
    }

    /// A connection that suits this request, and others to the same host.
    pub async fn connect(&self, gateway: &Gateway, tls: &TlsClient) -> Result<Connection> {
        let listener = self.listener.unwrap_or(if self.tls { "external-https" } else { "external-http" });
        let address = gateway.address(listener)?;
        if !self.tls {
            return Connection::open(tcp(address).await?, self.http2).await;
        }
        let name = self.server_name.as_deref().unwrap_or_else(|| without_port(&self.host));
        let alpn = if self.http2 { "h2" } else { "http/1.1" };
        let (stream, peer) = tls.alpn(&[alpn]).connect(address, Some(name)).await?;
        ensure(peer.alpn.as_deref() == Some(alpn), || format!("asked for {alpn}, got {:?}", peer.alpn))?;
        Connection::open(stream, self.http2).await
    }

    /// The request as hyper takes it; HTTP/1.1 in origin-form, HTTP/2 with scheme and authority.
    fn request(&self, http2: bool) -> Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(self.method.clone());
        if http2 {
            let scheme = if self.tls { "https" } else { "http" };
            builder = builder.version(Version::HTTP_2).uri(format!("{scheme}://{}{}", self.host, self.target));
        } else {
            builder = builder.uri(&self.target).header("host", &self.host);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        Ok(builder.body(Full::new(self.body.clone()))?)
    }
}

impl Reply {
    /// Reads an answer to its end.
    pub async fn read(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let body = in_time("the rest of an answer", body.collect()).await??.to_bytes();
        Ok(Self { status: head.status.as_u16(), version: head.version, headers: head.headers, body })
    }

    /// What a backend saw.
    pub fn seen(&self) -> Result<Seen> {
        ensure(self.status == 200, || format!("answered {}: {}", self.status, self.text()))?;
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// GET by plain HTTP/1.1, without a gateway at hand.
pub async fn get_plain(address: SocketAddr, target: &str) -> Result<Reply> {
    let mut connection = Connection::open(tcp(address).await?, false).await?;
    Reply::read(connection.send(&Call::get(&format!("http://{address}{target}"))).await?).await
}

/// What a client waits for at most as long as patience lasts.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    Ok(outcome.map_err(|_| format!("{what} did not come within {PATIENCE:?}"))?)
}

/// A TCP connection that sends at once what it is given.
async fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn without_port(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}
