//! A gateway with one listener, whose tables the tests fill.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certstore::testing::ScriptedSource;
use certstore::{CertStore, SecretRef};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use postern::apply::{Applier, SecretEvents};
use postern::connection::{self, Service};
use postern::drain::Phase;
use postern::listener::{Admission, Limits, ListenerName, Policy, bind, serve};
use postern::proxy::{Postern, Settings};
use postern::tables::Tables;
use postern::tls::{self, Terminator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use xds::Update;
use xds::resource::{
    Cluster, ClusterName, Discovery, EndpointSet, Forward, HostPattern, PackedRouteSet, PathMatch, Route, RouteSet,
    Split, UpstreamProtocol, VirtualHost,
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may be idle, or a header incomplete.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct NoSecrets;

impl SecretEvents for NoSecrets {
    fn secret_changed(&self, _secret: &SecretRef, _version: &str) {}
    fn secret_removed(&self, _secret: &SecretRef) {}
}

/// The metrics of what is started on this thread while they are recorded.
pub(crate) struct Figures(PrometheusRecorder);

impl Default for Figures {
    fn default() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }
}

impl Figures {
    /// Records until the guard is dropped.
    pub(crate) fn record(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    /// Waits until a metric without labels is not zero.
    pub(crate) async fn until(&self, metric: &str) {
        let counts =
            |line: &str| line.strip_prefix(metric).is_some_and(|value| value.starts_with(' ') && value != " 0");
        let counted = async {
            while !self.0.handle().render().lines().any(counts) {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, counted).await.is_ok(), "always zero: {metric}");
    }
}

/// A running proxy.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) admission: Arc<Admission>,
    applier: Applier,
    version: u64,
    _phase: watch::Sender<Phase>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        Self::start_with(ListenerName::ExternalHttp, Settings::default())
    }

    pub(crate) fn start_with(listener: ListenerName, settings: Settings) -> Self {
        Self::start_tls(listener, settings, ScriptedSource::new())
    }

    pub(crate) fn start_tls(listener: ListenerName, settings: Settings, certificates: Arc<ScriptedSource>) -> Self {
        // A second call finds the provider installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tables = Tables::default();
        let applier = Applier::new(Arc::clone(&tables), Arc::new(NoSecrets));
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = Arc::clone(&ready);
        let is_ready = Arc::new(move || is_ready.load(Ordering::Relaxed));
        let proxy = Postern::new(Arc::clone(&tables), applier.applied(), settings, is_ready);
        let certificates = CertStore::builder(certificates).build();
        let connections = connection::Settings { idle_timeout: IDLE, header_timeout: IDLE, ..Default::default() };
        let admission = Admission::new(Limits::default());
        let service = Arc::new(Service {
            handler: Arc::new(proxy),
            tls: Arc::new(Terminator::new(tls::Settings::default(), tables, certificates).expect("valid")),
            admission: Arc::clone(&admission),
            settings: connections.into(),
        });
        let bound = bind(listener, "127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let address = bound.local_addr();
        let (phase, drain) = watch::channel(Phase::Serving);
        tokio::spawn(serve(bound, Policy::default(), service, drain));
        Self { address, ready, admission, applier, version: 0, _phase: phase }
    }

    pub(crate) fn apply(&mut self, update: Update) {
        self.version += 1;
        self.applier.apply(Update { version: self.version, ..update });
    }

    /// `host` goes to `cluster`.
    pub(crate) fn route(&mut self, host: &str, cluster: &str) {
        self.route_with(host, Route { path: prefix("/"), headers: Vec::new(), action: forward(&[(cluster, 100)]) });
    }

    pub(crate) fn route_with(&mut self, host: &str, route: Route) {
        self.host(host, virtual_host(&RouteSet { routes: vec![route], probe_hash: Some([0xab; 32]) }));
    }

    pub(crate) fn host(&mut self, host: &str, virtual_host: VirtualHost) {
        let virtual_hosts = vec![(HostPattern::new(Arc::from(host)), Some(virtual_host))];
        self.apply(Update { virtual_hosts, ..Update::default() });
    }

    pub(crate) fn cluster(&mut self, cluster: &str, protocol: UpstreamProtocol, addresses: &[SocketAddr]) {
        let resource = Cluster { protocol, discovery: Discovery::Endpoints };
        self.apply(Update {
            clusters: vec![(name(cluster), Some(resource))],
            endpoints: vec![(name(cluster), Some(EndpointSet { addresses: Arc::from(addresses) }))],
            ..Update::default()
        });
    }

    pub(crate) fn endpoints(&mut self, cluster: &str, addresses: &[SocketAddr]) {
        let endpoints = vec![(name(cluster), Some(EndpointSet { addresses: Arc::from(addresses) }))];
        self.apply(Update { endpoints, ..Update::default() });
    }

    /// Sends bytes, and yields all that comes until the gateway closes or falls silent.
    pub(crate) async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the gateway listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open after {request:?}: {}", String::from_utf8_lossy(&answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, host: &str, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }
}

pub(crate) fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status line in {answer:?}"));
    code.parse().expect("a number")
}

pub(crate) fn name(cluster: &str) -> ClusterName {
    ClusterName::new(Arc::from(cluster))
}

pub(crate) fn prefix(path: &str) -> PathMatch {
    PathMatch::StringPrefix(Arc::from(path))
}

pub(crate) fn forward(splits: &[(&str, u32)]) -> Forward {
    let split =
        |(cluster, weight): &(&str, u32)| Split { cluster: name(cluster), weight: *weight, set_headers: Vec::new() };
    let splits = splits.iter().map(split).collect();
    Forward { splits, set_headers: Vec::new(), rewrite_host: None, force_http1: false }
}

pub(crate) fn virtual_host(routes: &RouteSet) -> VirtualHost {
    VirtualHost {
        visibility: xds::resource::Visibility::External,
        wildcard_depth: xds::resource::WildcardDepth::Any,
        redirect_to_https: false,
        routes: PackedRouteSet::pack(routes),
    }
}

/// A backend that answers with the request it got: its name, the request line, the headers sorted, the body.
pub(crate) async fn echo(name: &'static str) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(serve_echo(name, socket));
    address
}

pub(crate) async fn serve_echo(name: &'static str, socket: TcpListener) {
    loop {
        let (stream, _) = socket.accept().await.expect("accepts");
        let service = service_fn(move |request| answer(name, request));
        tokio::spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    name: &'static str,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut lines: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect();
    lines.sort_unstable();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = format!(
        "backend: {name}\n{} {} {:?}\n{}\n\n{}",
        head.method,
        head.uri,
        head.version,
        lines.join("\n"),
        String::from_utf8_lossy(&body)
    );
    Ok(hyper::Response::new(Full::from(text)))
}

/// An address that refuses connections: it was bound a moment ago.
pub(crate) async fn refusing() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    socket.local_addr().expect("bound")
}
