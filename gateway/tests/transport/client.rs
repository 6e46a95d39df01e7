//! Clients: rustls with its knobs, raw bytes, and hyper on top of either.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::rig::Rig;

/// A client that trusts the rig's CA.
pub(crate) fn config(rig: &Rig) -> ClientConfig {
    config_with(rig, rustls::DEFAULT_VERSIONS, aws_lc_rs::default_provider().kx_groups)
}

pub(crate) fn config_with(
    rig: &Rig,
    versions: &[&'static SupportedProtocolVersion],
    kx_groups: Vec<&'static dyn SupportedKxGroup>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(rig.ca.root_der()).unwrap();
    let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) fn with_alpn(mut config: ClientConfig, protocol: &str) -> ClientConfig {
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    server_name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// The bytes of a `ClientHello`.
pub(crate) fn hello(config: ClientConfig, server_name: &str) -> Vec<u8> {
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends `bytes` and returns all that is answered until the end of the connection, reset or not.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    read_to_end(&mut tcp).await
}

/// Reads to the end, be it orderly or not.
pub(crate) async fn read_to_end(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    while let Ok(1..) = io.read_buf(&mut answer).await {}
    answer
}

/// Reads until what was read ends with `end`.
pub(crate) async fn read_until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let count = io.read_buf(&mut text).await.unwrap();
        assert!(count > 0, "closed after {:?}, before {end:?}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://one.test{path}")).header("host", "one.test").body(Empty::new()).unwrap()
}

pub(crate) type H2Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// HTTP/2 on `io`, with a task that ends when the connection does.
pub(crate) async fn http2<T>(io: T) -> (H2Sender, tokio::task::JoinHandle<hyper::Result<()>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    (sender, tokio::spawn(conn))
}

pub(crate) async fn text<B: hyper::body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
