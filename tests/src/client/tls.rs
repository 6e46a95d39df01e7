//! TLS clients with any server name, which say whose certificate they got.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::in_time;
use crate::ca::TestCa;
use crate::{Error, Result};

static TLS12_ONLY: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];

/// How a client does TLS. It trusts one authority and checks the name it asks for.
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsClient {
    roots: Arc<RootCertStore>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
    resumption: Option<Resumption>,
    key_exchange: Option<&'static dyn SupportedKxGroup>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The serial number of the certificate.
    pub serial: u64,
    /// The DNS names of the certificate.
    pub names: Vec<String>,
    /// True if the session was resumed.
    pub resumed: bool,
    /// The application protocol.
    pub alpn: Option<String>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
}

impl TlsClient {
    /// A client that trusts this authority, without resumption.
    pub fn new(ca: &TestCa) -> Result<Self> {
        Ok(Self::with_roots(ca.roots()?))
    }

    /// A client that trusts the authorities of a PEM file, without resumption.
    pub fn trusting(pem: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(Self::with_roots(Arc::new(roots)))
    }

    fn with_roots(roots: Arc<RootCertStore>) -> Self {
        Self { roots, versions: rustls::DEFAULT_VERSIONS, alpn: Vec::new(), resumption: None, key_exchange: None }
    }

    /// The same client, offering these protocols.
    pub fn alpn(&self, protocols: &[&str]) -> Self {
        Self { alpn: protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(), ..self.clone() }
    }

    /// The same client, with TLS 1.2 only.
    pub fn tls12(&self) -> Self {
        Self { versions: &TLS12_ONLY, ..self.clone() }
    }

    /// The same client with a memory of sessions, which its clones share.
    pub fn resuming(&self) -> Self {
        Self { resumption: Some(Resumption::in_memory_sessions(4_096)), ..self.clone() }
    }

    /// The same client, with classical key exchange only. Otherwise it prefers X25519MLKEM768.
    pub fn x25519(&self) -> Self {
        Self { key_exchange: Some(rustls::crypto::aws_lc_rs::kx_group::X25519), ..self.clone() }
    }

    /// The configuration, for many connections.
    pub fn config(&self) -> Result<Arc<ClientConfig>> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(group) = self.key_exchange {
            provider.kx_groups = vec![group];
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(self.versions)?;
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = self.resumption.clone().unwrap_or_else(Resumption::disabled);
        Ok(Arc::new(config))
    }

    /// Connects and makes the handshake. Without a name the client sends none, and trusts no certificate.
    pub async fn connect(&self, address: SocketAddr, name: Option<&str>) -> Result<(TlsStream<TcpStream>, Peer)> {
        connect(&self.config()?, address, name).await
    }

    /// Makes a handshake, closes cleanly and reports.
    pub async fn handshake(&self, address: SocketAddr, name: Option<&str>) -> Result<Peer> {
        let (stream, peer) = self.connect(address, name).await?;
        close(stream).await;
        Ok(peer)
    }
}

/// [`TlsClient::connect`] with a configuration at hand.
pub async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: Option<&str>,
) -> Result<(TlsStream<TcpStream>, Peer)> {
    connect_over(config, super::tcp(address).await?, name).await
}

/// [`TlsClient::connect`] with a configuration and a connection at hand.
pub async fn connect_over(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
    name: Option<&str>,
) -> Result<(TlsStream<TcpStream>, Peer)> {
    let server_name = match name {
        Some(name) => ServerName::DnsName(DnsName::try_from(name.to_owned())?),
        // An address is never sent as a server name (RFC 6066 §3).
        None => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into()),
    };
    let stream = in_time("a handshake", TlsConnector::from(Arc::clone(config)).connect(server_name, stream)).await??;
    let peer = Peer::of(&stream)?;
    Ok((stream, peer))
}

/// Closes the client's side and reads the server's to its end, so that session tickets are taken in.
pub async fn close(mut stream: TlsStream<TcpStream>) {
    // What the server does after our close_notify is no concern of a client that is leaving.
    let _closing = stream.shutdown().await;
    let mut rest = Vec::new();
    let _closed = in_time("the end of a connection", stream.read_to_end(&mut rest)).await;
}

impl Peer {
    fn of(stream: &TlsStream<TcpStream>) -> Result<Self> {
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or("the server sent no certificate")?;
        let (serial, names) = identity(leaf)?;
        Ok(Self {
            serial,
            names,
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            version: session.protocol_version(),
        })
    }
}

/// Serial number and DNS names of a certificate.
pub fn identity(certificate: &CertificateDer<'_>) -> Result<(u64, Vec<String>)> {
    let (_, certificate) = X509Certificate::from_der(certificate)?;
    let serial = certificate.raw_serial().iter().fold(0_u64, |serial, byte| serial << 8 | u64::from(*byte));
    let mut names = Vec::new();
    if let Some(extension) = certificate.subject_alternative_name()? {
        for name in &extension.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    Ok((serial, names))
}

/// The alert with which the server ended a handshake, if that is what the error is.
pub fn alert(error: &Error) -> Option<AlertDescription> {
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
