//! The parts that write status, put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::denials::Denials;
use super::desk::{Desk, Hook};
use super::events::Recorder;
use super::lease::{Elector, LeaseOptions};
use super::metrics;
use super::probe::Prober;
use super::publication::{Address, Publisher};
use super::published::Balancers;
use super::queue::Queue;
use super::wire::Api;
use super::writer::Writer;
use crate::fault::Faults;
use crate::object::{LoadBalancer, ObjectRef};
use crate::source::api::Rate;

/// One request is given up after this. Less than what is left of a lease when its holder stops to write.
const DEADLINE: Duration = Duration::from_secs(4);

/// The end is waited for no longer than this.
const END: Duration = Duration::from_secs(3);

/// What is told, and who tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where the gateway's Services and its Lease are.
    pub namespace: String,
    /// The Service for traffic from outside of the cluster. Default: `postern`.
    pub public_service: String,
    /// The Service for traffic from inside of it; its endpoints are all gateways. Default: `postern-internal`.
    pub internal_service: String,
    /// The domain of the cluster's DNS. Default: `cluster.local`.
    pub cluster_domain: String,
    /// Ingresses are reached where this Service is; by default where `public_service` is.
    pub publish_service: Option<ObjectRef>,
    /// Ingresses are reached at these addresses instead. Default: none.
    pub publish_addresses: Vec<Address>,
    /// The name of this pod: the holder of the Lease.
    pub identity: Arc<str>,
    /// How the Lease is held.
    pub lease: LeaseOptions,
    /// Patches in a second, on average; twice as many at once. Default: 200, as Knative's controllers have it.
    pub rate: f64,
}

impl Options {
    /// The defaults, for a pod of this name.
    pub fn new(namespace: impl Into<String>, identity: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            public_service: "postern".to_owned(),
            internal_service: "postern-internal".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            publish_service: None,
            publish_addresses: Vec::new(),
            identity: identity.into(),
            lease: LeaseOptions::default(),
            rate: 200.0,
        }
    }

    fn balancers(&self) -> Balancers {
        let (namespace, domain) = (&self.namespace, &self.cluster_domain);
        let at = |service: &str| LoadBalancer::internal(format!("{service}.{namespace}.svc.{domain}"));
        Balancers { public: at(&self.public_service), private: at(&self.internal_service) }
    }
}

/// Writes status, once it is started.
pub struct Reporter {
    client: Client,
    options: Options,
    balancers: Arc<Balancers>,
    desk: Desk,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter, and what the translator needs for it.
    pub fn new(client: Client, options: Options) -> (Self, Hook) {
        let balancers = Arc::new(options.balancers());
        let (desk, hook) = Desk::new(Arc::clone(&balancers));
        (Self { client, options, balancers, desk }, hook)
    }

    /// Begins to try for the Lease and, with it, to write. `applied` follows the version of the Update that was applied
    /// last. Needs a tokio runtime.
    pub fn start(self, applied: watch::Receiver<u64>, faults: Faults) -> Running {
        let Self { client, options, balancers, desk } = self;
        let namespace = options.namespace;
        let api = Api::new(client.clone(), DEADLINE);
        let (elector, leadership) = Elector::new(client, &namespace, Arc::clone(&options.identity), options.lease);
        let gateways = ObjectRef::new(namespace.as_str(), options.internal_service.as_str());
        let writer = Writer {
            api: api.clone(),
            desk: desk.clone(),
            rate: Rate::new(options.rate, options.rate * 2.0),
            prober: Prober::new(api.clone(), gateways, Arc::clone(&options.identity)),
            balancers,
            leadership: leadership.clone(),
            applied,
            denials: Denials::new(faults.clone()),
        };
        let own = ObjectRef::new(namespace.as_str(), options.public_service.as_str());
        let publisher = Publisher {
            api: api.clone(),
            desk: desk.clone(),
            fixed: options.publish_addresses,
            service: options.publish_service.unwrap_or(own),
            leadership: leadership.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::new(writer).run());
        tasks.spawn(publisher.run());
        tasks.spawn(Recorder::new(api, faults, options.identity, leadership).run());
        tasks.spawn(observe(desk.queue));
        let (stop, stopped) = oneshot::channel::<()>();
        let electing = tokio::spawn(elector.run(async {
            // Told, or nobody can tell any more.
            let _ = stopped.await;
        }));
        Running { stop, electing, _tasks: tasks }
    }
}

/// Writes status until it is dropped.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    electing: JoinHandle<()>,
    _tasks: JoinSet<()>,
}

impl Running {
    /// Stops to write at once, and gives up the Lease so that another gateway can go on.
    pub async fn stop(self) {
        let Self { stop, electing, _tasks: tasks } = self;
        drop(stop);
        if tokio::time::timeout(END, electing).await.is_err() {
            tracing::warn!("the lease was not given up in time; it expires by itself");
        }
        drop(tasks);
    }
}

/// Measures the queue.
async fn observe(queue: Arc<Queue>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics::backlog(queue.backlog());
    }
}
