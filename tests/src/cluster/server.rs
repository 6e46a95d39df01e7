//! The sockets: plain and TLS, HTTP/1.1 and HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::api;
use super::connection::Connection;
use super::silence::Silence;
use crate::Result;
use crate::ca::Issued;

/// A server's TLS, with one certificate.
pub(super) fn acceptor(certificate: &Issued) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves on a listener until cancelled; while the cluster refuses, the listener is closed.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    ends: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut silence = shared.silence.subscribe();
    let mut listener = Some(listener);
    // Ends the connections of a time between two silences.
    let mut connections = ends.child_token();
    loop {
        let refusing = *silence.borrow_and_update() == Silence::Refusing;
        if refusing {
            listener = None;
            connections.cancel();
            connections = ends.child_token();
        } else if listener.is_none() {
            listener = Some(bind_again(address).await?);
        }
        tokio::select! {
            () = ends.cancelled() => return Ok(()),
            // The shared state, which this task holds, has the sender.
            _changed = silence.changed() => {}
            accepted = accept(listener.as_ref()) => {
                // What fails is the client's connection, not the listener.
                let Ok(stream) = accepted else { continue };
                let connection = Connection::new(connections.child_token());
                tokio::spawn(serve_one(Arc::clone(&shared), connection, stream, tls.clone()));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// The address was ours a moment ago; sockets that are being closed may still be in the way.
async fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    const ATTEMPTS: u32 = 50;
    let mut attempt = 0;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if attempt < ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => {
                attempt += 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            bound => return bound,
        }
    }
}

async fn serve_one(shared: Arc<Shared>, connection: Connection, stream: TcpStream, tls: Option<TlsAcceptor>) {
    // A peer that is gone is noticed when we read or write.
    let _best_effort = stream.set_nodelay(true);
    let ends = connection.ends().clone();
    let stream = connection.over(stream);
    let served = async {
        match tls {
            Some(tls) => {
                let Ok(stream) = tls.accept(stream).await else { return };
                speak_http(shared, connection, stream).await;
            }
            None => speak_http(shared, connection, stream).await,
        }
    };
    tokio::select! {
        () = ends.cancelled() => {}
        () = served => {}
    }
}

async fn speak_http<S>(shared: Arc<Shared>, connection: Connection, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (shared, connection) = (Arc::clone(&shared), connection.clone());
        async move { Ok::<_, std::convert::Infallible>(api::answer(shared, connection, request).await) }
    });
    // A client may break off whenever it likes.
    let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
