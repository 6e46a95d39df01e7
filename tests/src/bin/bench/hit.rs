//! What finding a certificate by name adds to a handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestSecret};
use certstore::{CertStore, ClientKey, SecretRef, SniPattern, TlsBinding};
use postern::connection::Socket;
use postern::listener::ListenerName;
use postern::tables::Tables;
use postern::tls::{Settings, Terminator};
use postern_tests::ca::{Issued, TestCa, new_key};
use postern_tests::client::TlsClient;
use postern_tests::{Result, ensure};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor as Handshake, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use xds::resource::Visibility;

use crate::fleet::host;
use crate::report::Report;
use bout::{Bout, ROUNDS, Side, TURN};

mod bout;

/// Samples for each figure that is asked for.
const SAMPLES: usize = 5;

/// Keys are shared by many certificates, to save the time of making them.
const KEYS: usize = 64;

/// Measures with each of these numbers of cached certificates.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "hit",
        format!(
            "CPU time of a server thread per full TLS 1.3 handshake (X25519, ECDSA P-256), accept and close included: a server \
             with one fixed certificate; the same with N names and their certificates cached, found by the gateway's index and \
             cache, each asked for in turn; and the gateway's whole terminator, which tells clients apart, keeps the name, binds \
             tickets to Secrets and counts besides. With many names, each handshake finds its certificate in memory that no \
             processor has cached. They take turns of {TURN} handshakes; a sample is the middle of {ROUNDS} rounds. Wanted: at \
             most 2 % more"
        ),
    );
    for &count in counts {
        let ca = TestCa::new()?;
        let certificates = issue(&ca, count)?;
        let first = certificates.first().ok_or("--count 0: at least one certificate is needed")?;
        let shelf = Shelf::new(&certificates).await?;
        let sides = [
            Side::new(Acceptor::Bare(server_config()?, Finder::Fixed(fixed(first)?)))?,
            Side::new(Acceptor::Bare(server_config()?, Finder::ByName(shelf.clone())))?,
            Side::new(Acceptor::Whole(Arc::new(Terminator::new(Settings::default(), shelf.tables, shelf.store)?)))?,
        ];
        let mut bout = Bout::new(TlsClient::new(&ca)?.x25519().config()?, sides, count)?;
        bout.rounds().await?;
        for _ in 0..repeat * SAMPLES {
            let rounds = bout.rounds().await?;
            let mut sample = |what: &str, unit, of: fn(&[f64; 3]) -> f64| {
                report.sample(format!("{count} names: {what}"), unit, middle(rounds.iter().map(of)));
            };
            sample("fixed certificate", "µs", |[fixed, _, _]| fixed * 1e6);
            sample("found by name", "µs", |[_, found, _]| found * 1e6);
            sample("terminator", "µs", |[_, _, whole]| whole * 1e6);
            sample("added by finding", "%", |[fixed, found, _]| (found / fixed - 1.0) * 100.0);
            sample("added by the terminator", "%", |[fixed, _, whole]| (whole / fixed - 1.0) * 100.0);
        }
    }
    Ok(report)
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn issue(ca: &TestCa, count: usize) -> Result<Vec<Issued>> {
    let keys = (0..KEYS.min(count)).map(|_| new_key()).collect::<Result<Vec<_>>>()?;
    keys.iter().cycle().take(count).enumerate().map(|(number, key)| ca.issue_with_key(&[&host(number)], key)).collect()
}

tokio::task_local! {
    /// The certificate of this task's handshake.
    static CERTIFICATE: Arc<CertifiedKey>;
}

/// What is there to be found.
#[derive(Clone)]
struct Shelf {
    tables: Tables,
    store: Arc<CertStore>,
}

/// How a certificate is found.
#[derive(Clone)]
enum Finder {
    Fixed(Arc<CertifiedKey>),
    ByName(Shelf),
}

/// How a handshake is made.
#[derive(Clone)]
enum Acceptor {
    Bare(Arc<ServerConfig>, Finder),
    Whole(Arc<Terminator>),
}

#[derive(Debug)]
struct Chosen;

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        CERTIFICATE.try_with(Arc::clone).ok()
    }
}

impl Shelf {
    /// Each certificate bound to its name, and cached.
    async fn new(certificates: &[Issued]) -> Result<Self> {
        let source = ScriptedSource::new();
        let store = CertStore::builder(source.clone()).budget(1 << 30).build();
        let tables = Tables::default();
        let mut snapshot = (**tables.load()).clone();
        for (number, issued) in certificates.iter().enumerate() {
            let secret = SecretRef::new("team", host(number));
            let content = TestSecret { chain: issued.chain.clone(), key: issued.key.clone(), version: None };
            source.put(&secret, content);
            let binding = TlsBinding { secret: secret.clone(), policy: Visibility::External };
            snapshot.tls.insert(SniPattern::try_from(host(number).as_str())?, binding);
            store.certificate(&secret, &host(number)).await?;
        }
        tables.store(Arc::new(snapshot));
        Ok(Self { tables, store })
    }
}

impl Finder {
    /// As the terminator does, for a name that there is.
    async fn find(&self, server_name: &str) -> Result<Arc<CertifiedKey>> {
        let (tables, store) = match self {
            Self::Fixed(certificate) => return Ok(Arc::clone(certificate)),
            Self::ByName(Shelf { tables, store }) => (tables, store),
        };
        let secret = tables.load().tls.lookup(server_name).map(|binding| binding.secret.clone());
        let certificate = store.certificate_for(&secret.ok_or("no such name")?, server_name, ClientKey(1)).await?;
        Ok(Arc::clone(certificate.certified_key()))
    }
}

fn fixed(issued: &Issued) -> Result<Arc<CertifiedKey>> {
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// As the terminator has it, but for tickets that are bound.
fn server_config() -> Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chosen));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// One handshake; then the client closes.
async fn shake_hands(acceptor: Acceptor, tcp: TcpStream, peer: SocketAddr) -> Result<()> {
    tcp.set_nodelay(true)?;
    let socket = Socket::new(tcp, bytes::Bytes::new());
    let mut stream = match acceptor {
        Acceptor::Bare(config, finder) => accept_bare(config, &finder, socket).await?,
        Acceptor::Whole(terminator) => {
            let turn = || std::future::ready(Some(()));
            let processors = Semaphore::new(Semaphore::MAX_PERMITS);
            terminator.accept(socket, ListenerName::ExternalHttps, peer.ip(), turn, &processors).await?.stream
        }
    };
    let read = stream.read(&mut [0; 16]).await?;
    ensure(read == 0, || format!("a client that only shakes hands sent {read} bytes"))
}

/// What the gateway's terminator does, with the same deadlines and limits.
async fn accept_bare(config: Arc<ServerConfig>, finder: &Finder, mut socket: Socket) -> Result<Box<TlsStream<Socket>>> {
    let settings = Settings::default();
    let is_there = timeout(settings.first_byte_timeout, socket.readable()).await??;
    ensure(is_there, || "a client has closed before its hello".to_owned())?;
    let session = async {
        socket.set_read_budget(Some(settings.hello_limit));
        let mut start = LazyConfigAcceptor::new(Handshake::default(), socket).await?;
        let certificate = finder.find(start.client_hello().server_name().ok_or("a client without a name")?).await?;
        start.io.set_read_budget(Some(settings.hello_limit));
        let session = CERTIFICATE.scope(certificate, async {
            start.into_stream_with(config, |session| session.set_buffer_limit(Some(settings.send_buffer))).await
        });
        Result::<_>::Ok(session.await?)
    };
    let mut stream = Box::new(timeout(settings.handshake_timeout, session).await??);
    stream.get_mut().0.set_read_budget(None);
    Ok(stream)
}

/// What the gateway prefers, so that both sides do the same cryptography.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    }
}
