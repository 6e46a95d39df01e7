//! The Kubernetes API as a source.
//!
//! ```text
//!  list/watch per kind (and namespace) ─┐
//!                                       ├─► work queue: latest state per object ─► next()
//!  list/watch …                        ─┘
//! ```
//!
//! Each object is read, queued and let go; what is kept of it is its name. Secrets are listed as metadata, of any type, and
//! told if somebody refers to them ([`SecretRoster`]); their data is fetched one by one by a [`SecretReader`] when somebody
//! asks.
//!
//! # Guarantees
//! * A change is never lost: what waits for an object is replaced by what is newer, and by nothing else.
//! * What a complete list lacks is deleted.
//! * While the server is away, everything known stays; [`ApiSource::next`] then has nothing to say, for hours if need
//!   be. It comes back with waits that double and differ, so that many gateways do not come back together.
//! * What may not be read, or does not exist in the cluster, is reported once and keeps nothing else from being ready.
//! * One object that cannot be read is reported by name; its last good state stays, and nothing else is affected.
//! * A watcher that panics begins anew, after a wait that doubles.
//! * A server that has gone back (restored from a backup) or lags behind is noticed, and what it has now is shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, watch as channel};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::discovery::Source;
use crate::fault::Faults;
use crate::object::{ObjectEvent, ObjectKind, ObjectRef};
use crate::work_queue::{Bounds, WorkQueue};

mod backoff;
mod connect;
mod decode;
mod gate;
mod known;
mod lines;
mod metrics;
mod names;
mod rate;
pub(crate) mod request;
mod roster;
mod secret;
mod target;
mod version;
mod watch;

pub(crate) use backoff::jittered;
pub use connect::{Access, ConnectError, connect};
pub(crate) use metrics::Verb;
pub use metrics::describe_metrics;
pub(crate) use rate::Rate;
pub use roster::SecretRoster;
pub use secret::{ReaderOptions, SecretFetchError, SecretReader};

pub(crate) use target::{coordinates, object_path};

use gate::{Contact, Gate};
use target::Target;
use watch::{Shared, Watcher};

/// Lists that are read at a time.
const LISTS: usize = 8;

/// Which namespaces are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them; needs a `ClusterRole`.
    #[default]
    AllNamespaces,
    /// These; a Role in each is enough. Each takes five connections to the server.
    Namespaces(Vec<Arc<str>>),
}

/// What is followed, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which namespaces are followed. Default: all.
    pub scope: Scope,
    /// Each `ConfigMap` that is followed; no others are. Default: none.
    pub config_maps: Vec<ObjectRef>,
    /// Secrets of this type are followed. Default: `kubernetes.io/tls`; `None` for all, which is for a
    /// [`SecretRoster`].
    pub secret_type: Option<Arc<str>>,
    /// Only Secrets with these labels are followed, as a selector. Default: all.
    pub secret_labels: Option<String>,
    /// Whether the server is asked to stream lists (KEP-3157); one that cannot is asked for pages. Default: yes.
    pub streamed_lists: bool,
    /// Objects in one page of a list. Default: 500, as client-go has it.
    pub page_size: u32,
    /// A watch lasts between half of this and all of it; a connection that died is noticed at its end. Default: 290 s.
    pub watch_timeout: Duration,
    /// How long a watch may send nothing, bookmarks included, until its position is checked. A server sends a bookmark a
    /// minute, if there is anything newer to tell. Default: 75 s.
    pub silence: Duration,
    /// How long the server may take to answer, and to send more of a list. Default: 30 s.
    pub request_timeout: Duration,
    /// The wait after a first failure; it doubles with each further one. Default: 500 ms.
    pub first_retry: Duration,
    /// No wait is longer. Default: 30 s.
    pub longest_retry: Duration,
    /// How long it takes at most until something that may not be read, or isn't there, is tried again. Default: 60 s.
    pub slow_retry: Duration,
    /// Objects whose change may wait for being taken. Default: 512; more of them cost memory and gain no time.
    pub queued_objects: usize,
    /// Bytes that may wait for being taken. Default: 32 MiB.
    pub queued_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scope: Scope::AllNamespaces,
            config_maps: Vec::new(),
            secret_type: Some("kubernetes.io/tls".into()),
            secret_labels: None,
            streamed_lists: true,
            page_size: 500,
            watch_timeout: Duration::from_secs(290),
            silence: Duration::from_secs(75),
            request_timeout: Duration::from_secs(30),
            first_retry: Duration::from_millis(500),
            longest_retry: Duration::from_secs(30),
            slow_retry: Duration::from_secs(60),
            queued_objects: 512,
            queued_bytes: 32 << 20,
        }
    }
}

/// The objects of a cluster, and their changes. Ends its tasks when dropped.
pub struct ApiSource {
    shared: Arc<Shared>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

impl ApiSource {
    /// Begins to follow a cluster; what is wrong with it is told to `faults`. Needs a tokio runtime.
    ///
    /// The server need not be there: nothing is said until it is.
    pub fn start(client: Client, options: Options, faults: Faults) -> Self {
        Self::begin(client, options, faults, None)
    }

    /// The same, and of Secrets only those changes are told that `roster` wants.
    pub fn start_for(roster: Arc<SecretRoster>, client: Client, options: Options, faults: Faults) -> Self {
        Self::begin(client, options, faults, Some(roster))
    }

    fn begin(client: Client, options: Options, faults: Faults, roster: Option<Arc<SecretRoster>>) -> Self {
        let targets = targets(&options);
        metrics::broken(0);
        let shared = Arc::new(Shared {
            client,
            queue: WorkQueue::new(Bounds { objects: options.queued_objects, bytes: options.queued_bytes }),
            gate: Gate::new(targets.len()),
            contact: Contact::default(),
            faults,
            options,
            roster,
            lists: Semaphore::new(LISTS),
            rewinds: channel::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        for target in targets {
            tasks.spawn(Watcher::new(Arc::clone(&shared), target).run());
        }
        tasks.spawn(observe(Arc::clone(&shared)));
        Self { shared, _tasks: tasks }
    }
}

impl fmt::Debug for ApiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSource").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Source for ApiSource {
    async fn next(&mut self) -> Vec<ObjectEvent> {
        self.shared.queue.take().await
    }
}

/// Measures the queue.
async fn observe(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics::backlog(shared.queue.backlog());
    }
}

fn targets(options: &Options) -> Vec<Target> {
    let namespaces: Vec<Option<&Arc<str>>> = match &options.scope {
        Scope::AllNamespaces => vec![None],
        Scope::Namespaces(namespaces) => namespaces.iter().map(Some).collect(),
    };
    let mut targets = vec![Target::new(ObjectKind::IngressClass, None)];
    for namespace in namespaces {
        let kinds = [ObjectKind::KIngress, ObjectKind::Ingress, ObjectKind::Service, ObjectKind::EndpointSlice];
        targets.extend(kinds.map(|kind| Target::new(kind, namespace)));
        let mut secrets = Target::new(ObjectKind::Secret, namespace);
        secrets.fields = options.secret_type.as_ref().map(|secret_type| format!("type={secret_type}"));
        secrets.labels.clone_from(&options.secret_labels);
        targets.push(secrets);
    }
    targets.extend(options.config_maps.iter().map(Target::config_map));
    targets
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
