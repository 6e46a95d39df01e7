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

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ca::TestCa;
use crate::{Error, Result};

pub mod access;
mod api;
pub mod clock;
mod connection;
mod crud;
mod discovery;
pub mod error;
pub mod fault;
pub mod kind;
mod list;
pub mod object;
mod options;
pub mod patch;
mod reply;
pub mod request;
pub mod requests;
pub mod selector;
mod server;
mod silence;
pub mod store;
mod watch;
pub mod write;

pub use access::PolicyRule;
pub use error::ApiError;
pub use fault::{Distortion, Fault, Rule, RuleId};
pub use kind::Kind;
pub use options::Options;
pub use request::{Shape, Verb};
pub use silence::Silence;

use access::Access;
use clock::Clock;
use fault::Faults;
use object::Object;
use requests::Requests;
use store::{Outcome, Store};
use write::{Part, Preconditions, Target};

/// The user whose token a test gets by default.
const ADMIN: &str = "system:admin";

/// A running cluster; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    ca: TestCa,
    address: SocketAddr,
    tls_address: SocketAddr,
    directory: tempfile::TempDir,
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
    watch_list: bool,
}

impl Cluster {
    /// Starts a cluster that holds the usual namespaces.
    pub async fn start(options: Options) -> Result<Self> {
        let ca = TestCa::new()?;
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
            watch_list: options.watch_list,
        });
        let ends = CancellationToken::new();
        let acceptor = server::acceptor(&certificate)?;
        tokio::spawn(server::serve(Arc::clone(&shared), plain, None, ends.clone()));
        tokio::spawn(server::serve(Arc::clone(&shared), tls, Some(acceptor), ends.clone()));
        let directory = tempfile::Builder::new().prefix("postern-cluster-").tempdir()?;
        let cluster = Self { shared, ca, address, tls_address, directory, ends };
        cluster.add_user(ADMIN);
        cluster.grant(ADMIN, None, vec![PolicyRule::everything()]);
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
        token(ADMIN)
    }

    /// Writes a kubeconfig for the user who may do everything, over TLS, and says where.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig_of(ADMIN)
    }

    /// [`Self::kubeconfig`] for another user.
    pub fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        self.write_kubeconfig(&path, user)?;
        Ok(path)
    }

    /// Writes a kubeconfig to a place.
    pub fn write_kubeconfig(&self, path: &Path, user: &str) -> Result<()> {
        let authority = crate::manifests::base64(self.ca_pem().as_bytes());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "simulated",
            "clusters": [{"name": "simulated", "cluster": {"server": self.tls_url(), "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token(user)}}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": user, "namespace": "default"}}],
        });
        // Whoever waits for the file finds all of it.
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(crate::manifests::to_yaml(&[config])?.as_bytes())?;
        file.persist(path)?;
        Ok(())
    }

    /// Makes a user who may do nothing yet, and returns the token.
    pub fn add_user(&self, name: &str) -> String {
        self.shared.access.add_user(&token(name), name);
        token(name)
    }

    /// Lets a user do what the rules say, in a namespace or everywhere.
    pub fn grant(&self, user: &str, namespace: Option<&str>, rules: Vec<PolicyRule>) {
        self.shared.access.grant(user, namespace, rules);
    }

    /// Takes from a user everything that was granted.
    pub fn revoke_grants(&self, user: &str) {
        self.shared.access.revoke_grants(user);
    }

    /// No longer knows a user: 401.
    pub fn remove_user(&self, user: &str) {
        self.shared.access.revoke_token(&token(user));
    }

    /// Creates or replaces an object with all its parts, its namespace included; metadata of the server's is kept.
    pub fn apply(&self, object: Value) -> Result<Arc<Object>> {
        let kind = kind_of(&object)?;
        let name = object["metadata"]["name"].as_str().ok_or("an object without a name")?.to_owned();
        let namespace = if kind.facts().namespaced {
            object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned()
        } else {
            String::new()
        };
        self.ensure_namespace(&namespace)?;
        Ok(self.shared.put(kind, &namespace, &name, object)?)
    }

    /// [`Self::apply`] for many objects.
    pub fn apply_many(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        objects.into_iter().try_for_each(|object| self.apply(object).map(drop))
    }

    /// Deletes an object as a client would: finalizers and a Pod's grace period hold it. Whether it was there.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.shared.delete(kind, &object::key(namespace, name), &Preconditions::default())
    }

    /// Deletes an object and doesn't wait for a grace period. Whether it was there.
    pub fn delete_now(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.shared.delete(kind, &object::key(namespace, name), &Preconditions::grace_seconds(0))
    }

    /// An object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.shared.store.get(kind, &object::key(namespace, name)).map(|object| object.value())
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.shared.store.snapshot(kind).objects.len()
    }

    /// What clients have asked for.
    pub fn requests(&self) -> &Requests {
        &self.shared.requests
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

    fn ensure_namespace(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.shared.store.get(Kind::Namespace, &object::key("", name)).is_none() {
            let object = json!({"metadata": {"name": name}, "status": {"phase": "Active"}});
            self.shared.put(Kind::Namespace, "", name, object)?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

impl Shared {
    /// Creates or replaces an object with all its parts.
    fn put(&self, kind: Kind, namespace: &str, name: &str, object: Value) -> Result<Arc<Object>, ApiError> {
        let target = Target { kind, namespace, name, part: Part::All, clock: &self.clock };
        let outcome = self.store.write(kind, &object::key(namespace, name), |old| match old {
            None => target.create(None, object),
            Some(old) => target.update(Some(old), object),
        })?;
        Ok(Arc::clone(outcome.object()))
    }

    /// Deletes an object if it is there; whether it was.
    fn delete(&self, kind: Kind, key: &object::Key, options: &Preconditions) -> bool {
        let (namespace, name) = object::split_key(key);
        let target = Target { kind, namespace, name, part: Part::All, clock: &self.clock };
        let outcome = self.store.write(kind, key, |old| write::delete(&target, old, options));
        if kind == Kind::Namespace && matches!(outcome, Ok(Outcome::Removed(_))) {
            crud::empty_namespace(self, name);
        }
        outcome.is_ok()
    }
}

/// Tokens need not be secret here, and a test can tell whose they are.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn kind_of(object: &Value) -> Result<Kind> {
    let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    let found = api_version.zip(kind).and_then(|(api_version, kind)| Kind::of_object(api_version, kind));
    found.ok_or_else(|| Error::from(format!("{api_version:?} {kind:?}: not a kind of the simulated cluster")))
}
