//! The demonstration's traffic: clients that go round the services, and a renewal every second.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::FromDer;

use super::manifests::Manifests;

/// Pause between two requests: a trickle that leaves the machine alone.
const PAUSE: Duration = Duration::from_millis(10);

/// One request and its handshake may take this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new handshake may go on seeing the old certificate before it counts as not seen.
const SEEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
    renewed: AtomicU64,
    seen: AtomicU64,
    slowest_micros: AtomicU64,
}

impl Tally {
    /// Requests, and renewals that no handshake saw in time.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// All in one sentence.
    pub(super) fn summary(&self) -> String {
        format!("{self}")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "requests {} ok, {} failed | renewed {}, seen {}, slowest {} ms",
            read(&self.answered),
            read(&self.failed),
            read(&self.renewed),
            read(&self.seen),
            read(&self.slowest_micros) / 1_000,
        )
    }
}

/// Sends requests until aborted: each on a connection of its own, to one service after the other.
pub(super) async fn send(manifests: Arc<Manifests>, gateway: SocketAddr, tally: Arc<Tally>) {
    let connector = connector(&manifests);
    for number in (0..manifests.services).cycle() {
        let host = manifests.host(number);
        match fetch(&connector, gateway, &host).await {
            Ok(_) => drop(tally.answered.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("\n{host}: {error}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Renews a certificate every second until aborted, and looks when new handshakes see it.
pub(super) async fn renew(manifests: Arc<Manifests>, gateway: SocketAddr, tally: Arc<Tally>) {
    let connector = connector(&manifests);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    for number in (0..manifests.services).cycle() {
        tick.tick().await;
        let renewed = manifests.renew(number);
        let Ok(serial) = renewed else {
            eprintln!("\ncannot renew a certificate: {renewed:?}");
            continue;
        };
        tally.renewed.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        if see(&connector, gateway, &manifests.host(number), serial).await {
            tally.seen.fetch_add(1, Ordering::Relaxed);
            let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            tally.slowest_micros.fetch_max(micros, Ordering::Relaxed);
        } else {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("\n{}: the renewed certificate is not served", manifests.host(number));
        }
    }
}

async fn see(connector: &TlsConnector, gateway: SocketAddr, host: &str, serial: u64) -> bool {
    let until = Instant::now() + SEEN_TIMEOUT;
    while Instant::now() < until {
        if fetch(connector, gateway, host).await.is_ok_and(|seen| seen == serial) {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

fn connector(manifests: &Manifests) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(manifests.ca_pem.as_bytes());
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // A resumed session would not show the certificate that is served now.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Asks for `/` on a new connection. Returns the serial number of the certificate that was presented.
async fn fetch(connector: &TlsConnector, gateway: SocketAddr, host: &str) -> Result<u64, FetchError> {
    tokio::time::timeout(REQUEST_TIMEOUT, async {
        let tcp = TcpStream::connect(gateway).await?;
        tcp.set_nodelay(true)?;
        let tls = connector.connect(ServerName::try_from(host.to_owned())?, tcp).await?;
        let serial = serial_of(tls.get_ref().1.peer_certificates())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get("/").header("host", host).body(Empty::<&[u8]>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Limited::new(response.into_body(), 64 * 1024).collect().await?;
        connection.abort();
        if status.is_success() { Ok(serial) } else { Err(format!("answered with {status}").into()) }
    })
    .await?
}

fn serial_of(chain: Option<&[CertificateDer<'_>]>) -> Result<u64, FetchError> {
    let leaf = chain.and_then(<[_]>::first).ok_or("no certificate was presented")?;
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf)?;
    let digits = leaf.tbs_certificate.serial.to_u64_digits();
    Ok(digits.first().copied().unwrap_or(0))
}
