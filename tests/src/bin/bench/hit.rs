//! What finding a certificate by name adds to a handshake.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use certstore::testing::{ScriptedSource, TestSecret};
use certstore::{CertStore, ClientKey, SecretRef, SniPattern, TlsBinding};
use postern::connection::Socket;
use postern::listener::ListenerName;
use postern::tables::Tables;
use postern::tls::{Settings, Terminator};
use postern_tests::ca::{Issued, TestCa, new_key};
use postern_tests::client::TlsClient;
use postern_tests::client::tls::{close, connect};
use postern_tests::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor as Handshake, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use xds::resource::Visibility;

use crate::fleet::host;
use crate::report::Report;

/// Handshakes with one side before it is another one's turn: about ten milliseconds, in which a noisy machine moves little.
const TURN: usize = 40;

/// Clients at the same time.
const CLIENTS: usize = 4;

/// Rounds, in which each side has one turn, for one sample. What is told is the middle of the rounds: a sum would be that of
/// the few which something else on the machine has disturbed.
const ROUNDS: usize = 75;

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
             with one fixed certificate; the same with N names and their certificates cached, found by name as the gateway finds \
             them, each asked for in turn; and the gateway's terminator, which counts and binds tickets to Secrets besides. \
             They take turns of {TURN} handshakes; a sample is the middle of {ROUNDS} rounds. Wanted: at most 2 % for finding"
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
        bout.rounds(ROUNDS).await?;
        for _ in 0..repeat * SAMPLES {
            let rounds = bout.rounds(ROUNDS).await?;
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

/// A server that is measured.
struct Side {
    listener: TcpListener,
    acceptor: Acceptor,
}

/// Servers that are compared, all on one thread, and the clients that they are compared with.
struct Bout {
    client: Arc<ClientConfig>,
    addresses: [SocketAddr; 3],
    /// How many names each has.
    names: [usize; 3],
    /// The next name that each is asked for.
    next: [usize; 3],
    turns: mpsc::Sender<Turn>,
}

/// A turn that is asked for, and who waits for the CPU time that it has taken.
struct Turn {
    side: usize,
    done: oneshot::Sender<Result<Duration>>,
}

impl Bout {
    fn new(client: Arc<ClientConfig>, sides: [Side; 3], names: usize) -> Result<Self> {
        let [first, second, third] = sides.each_ref().map(|side| side.listener.local_addr());
        let (turns, asked) = mpsc::channel(1);
        thread::spawn(move || serve(sides, asked));
        // Of those that share certificates, none finds what the other one has just used.
        let (names, next) = ([1, names, names], [0, 0, names / 2]);
        Ok(Self { client, addresses: [first?, second?, third?], names, next, turns })
    }

    /// CPU seconds per handshake of each side, in each of so many rounds. They take turns in every order there is.
    async fn rounds(&mut self, rounds: usize) -> Result<Vec<[f64; 3]>> {
        let mut all = Vec::with_capacity(rounds);
        for order in ORDERS.iter().cycle().take(rounds) {
            let mut round = [0.0; 3];
            for &side in order {
                round[side] = self.turn(side).await?;
            }
            all.push(round);
        }
        Ok(all)
    }

    async fn turn(&mut self, side: usize) -> Result<f64> {
        let (done, used) = oneshot::channel();
        self.turns.send(Turn { side, done }).await?;
        let (first, names) = (self.next[side], self.names[side]);
        self.next[side] = (first + TURN) % names;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (config, address) = (Arc::clone(&self.client), self.addresses[side]);
            clients.spawn(async move {
                for number in (first + client..first + TURN).step_by(CLIENTS) {
                    let (stream, _) = connect(&config, address, Some(&host(number % names))).await?;
                    close(stream).await;
                }
                Result::<()>::Ok(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(used.await??.as_secs_f64() / TURN as f64)
    }
}

/// Each side is as often before each other one as after it.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

impl Side {
    fn new(acceptor: Acceptor) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, acceptor })
    }
}

/// Serves turns as they are asked for, on this thread alone, and tells the CPU time that each has taken.
fn serve(sides: [Side; 3], mut asked: mpsc::Receiver<Turn>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = |side: Side| Ok((tokio::net::TcpListener::from_std(side.listener)?, side.acceptor));
        let servers = sides.into_iter().map(listen).collect::<Result<Vec<_>>>()?;
        while let Some(Turn { side, done }) = asked.recv().await {
            let before = thread_cpu();
            let (listener, acceptor) = &servers[side];
            let result = turn(listener, acceptor).await;
            let used = thread_cpu().saturating_sub(before);
            // Nobody waits any more for a turn that has failed on the other side.
            let _ = done.send(result.map(|()| used));
        }
        Ok(())
    })
}

/// Accepts as many connections as one turn has.
async fn turn(listener: &tokio::net::TcpListener, acceptor: &Acceptor) -> Result<()> {
    let (under_way, mut served) = (Arc::new(Semaphore::new(CLIENTS)), JoinSet::new());
    for _ in 0..TURN {
        let (tcp, peer) = listener.accept().await?;
        let turn = Arc::clone(&under_way).acquire_owned().await?;
        let acceptor = acceptor.clone();
        served.spawn(async move {
            let _turn = turn;
            shake_hands(acceptor, tcp, peer).await
        });
        while let Some(done) = served.try_join_next() {
            done??;
        }
    }
    while let Some(done) = served.join_next().await {
        done??;
    }
    Ok(())
}

/// One handshake; then the client closes.
async fn shake_hands(acceptor: Acceptor, tcp: TcpStream, peer: SocketAddr) -> Result<()> {
    tcp.set_nodelay(true)?;
    let socket = Socket::new(tcp, bytes::Bytes::new());
    let mut stream = match acceptor {
        Acceptor::Bare(config, finder) => accept_bare(config, &finder, socket).await?,
        Acceptor::Whole(terminator) => {
            let turn = || std::future::ready(Some(()));
            terminator.accept(socket, ListenerName::ExternalHttps, peer.ip(), turn).await?.stream
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

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What the gateway prefers, so that both sides do the same cryptography.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    }
}
