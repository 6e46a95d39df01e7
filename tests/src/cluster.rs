//! A simulated cluster: the part of the Kubernetes API that Postern uses, in this process, on loopback.
//!
//! ```text
//!  test ──► Cluster::apply, delete, get ──► Store ◄── list, watch, CRUD over HTTP(S) ◄── the client under test
//!                                             ▲                     ▲
//!            Stages (what time does to pods,  │                     │  Faults, Silence, Access, Clock
//!            certificates, services) ─────────┘                     │  (how the API misbehaves)
//! ```
//!
//! What it does, it does as a real API server: versions, generations, conflicts, finalizers, pages of one snapshot,
//! bookmarks, `WatchList`, 410, metadata-only answers, selectors, Status texts. **Not here**: admission, validation against schemas,
//! conversion between versions, watch of a single subresource, real garbage collection (a namespace's content goes with it, at once),
//! and what [`patch`] and [`patch::apply`] say about strategic merge and server-side apply.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::ca::TestCa;

pub mod access;
mod api;
pub mod clock;
mod connection;
mod contents;
mod crud;
mod discovery;
pub mod error;
pub mod fault;
pub mod kind;
mod knative;
mod list;
pub mod object;
mod options;
pub mod patch;
mod process;
mod reply;
pub mod request;
pub mod requests;
pub mod selector;
mod server;
mod silence;
mod simulation;
pub mod stages;
pub mod store;
mod users;
mod watch;
pub mod write;

pub use access::PolicyRule;
pub use error::ApiError;
pub use fault::{Distortion, Fault, Rule, RuleId};
pub use kind::Kind;
pub use knative::{Certificates, KnativeService};
pub use options::Options;
pub use process::{ClusterProcess, main, numbered_service};
pub use request::{Shape, Verb};
pub use silence::Silence;
pub use simulation::Pods;
pub use stages::Stages;
pub use store::Backup;

use access::Access;
use clock::Clock;
use fault::Faults;
use requests::Requests;
use simulation::Simulation;
use store::Store;

/// A running cluster; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    ca: Arc<TestCa>,
    address: SocketAddr,
    tls_address: SocketAddr,
    /// For kubeconfigs; made for the first of them.
    directory: OnceLock<TempDir>,
    ends: CancellationToken,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Store,
    clock: Arc<Clock>,
    access: Access,
    requests: Requests,
    faults: Faults,
    silence: silence::State,
    bookmark_interval: Duration,
    minor: u32,
    watch_list: bool,
    pods: Pods,
}

impl Cluster {
    /// Starts a cluster that holds the usual namespaces.
    pub async fn start(options: Options) -> Result<Self> {
        let ca = Arc::new(TestCa::new()?);
        let certificate = ca.issue(&["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
        let plain = TcpListener::bind(options.listen).await?;
        let tls = TcpListener::bind(SocketAddr::new(options.listen.ip(), 0)).await?;
        let (address, tls_address) = (plain.local_addr()?, tls.local_addr()?);
        let shared = Arc::new(Shared {
            store: Store::new(options.history),
            clock: Arc::new(Clock::new(options.speed)),
            access: Access::default(),
            requests: Requests::default(),
            faults: Faults::default(),
            silence: silence::State::default(),
            bookmark_interval: options.bookmark_interval,
            minor: options.minor,
            watch_list: options.watch_list,
            pods: Pods::default(),
        });
        let ends = CancellationToken::new();
        let acceptor = server::acceptor(&certificate)?;
        tokio::spawn(server::serve(Arc::clone(&shared), plain, None, ends.clone()));
        tokio::spawn(server::serve(Arc::clone(&shared), tls, Some(acceptor), ends.clone()));
        if let Some(stages) = &options.stages {
            let simulation = Simulation::new(Arc::clone(&shared), Arc::clone(&ca), stages, options.seed);
            tokio::spawn(simulation.run(ends.clone()));
        }
        let cluster = Self { shared, ca, address, tls_address, directory: OnceLock::new(), ends };
        cluster.add_user(users::ADMIN);
        cluster.grant(users::ADMIN, None, vec![PolicyRule::everything()]);
        for namespace in ["default", "kube-system", "knative-serving", "kourier-system"] {
            cluster.ensure_namespace(namespace)?;
        }
        Ok(cluster)
    }

    /// Where the API answers without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the API answers with TLS.
    pub fn tls_url(&self) -> String {
        format!("https://{}", self.tls_address)
    }

    /// The authority of the API server's certificate, in PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The authority that signs for the API server and the cluster's Secrets.
    pub fn ca(&self) -> &TestCa {
        &self.ca
    }

    /// The token of the user who may do everything.
    pub fn token(&self) -> String {
        users::token(users::ADMIN)
    }

    /// What clients have asked for.
    pub fn requests(&self) -> &Requests {
        &self.shared.requests
    }

    /// The pods' backends.
    pub fn pods(&self) -> &Pods {
        &self.shared.pods
    }

    /// How the API misbehaves.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The cluster's time.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Forgets the past: watches from earlier versions and pages of earlier lists are answered by 410.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Copies everything that the cluster holds.
    pub fn backup(&self) -> Backup {
        self.shared.store.backup()
    }

    /// Goes back to a copy, as after a restore of etcd. Connections stay; a real server is restarted for it.
    pub fn restore(&self, backup: &Backup) {
        self.shared.store.restore(backup);
    }

    /// Forgets the lists that pages continue, so that continue tokens are expired.
    pub fn expire_continue_tokens(&self) {
        self.shared.store.forget_pages();
    }

    /// Stops answering, or answers again.
    pub fn silence(&self, silence: Silence) {
        self.shared.silence.set(silence);
    }

    /// Is silent for a simulated while.
    pub async fn silence_for(&self, silence: Silence, simulated: Duration) {
        self.silence(silence);
        tokio::time::sleep(self.shared.clock.real(simulated)).await;
        self.silence(Silence::Answering);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}
