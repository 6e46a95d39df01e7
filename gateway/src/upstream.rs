//! Upstreams: clusters, their endpoints, and which endpoint a request goes to.
//!
//! ```text
//!  cluster name ─► Clusters ─► Cluster ─► endpoints (own ArcSwap) ─► Upstreams::choose ─► Choice ─► peer
//!                                              ▲                        │ none left: waits, bounded
//!                                   apply, dns ┘                        └► Unavailable (503)
//! ```

pub mod choose;
pub mod dns;
pub mod endpoints;
pub mod peer;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use xds::resource::{self, Discovery, UpstreamProtocol};

use crate::name_map::NameMap;

pub use choose::{Attempts, Choice, Unavailable, Upstreams};
pub use endpoints::EndpointList;

/// Clusters by name: a persistent map, so that a clone is cheap and a change costs O(log n).
#[derive(Clone, Debug, Default)]
pub struct Clusters(NameMap<Arc<Cluster>>);

impl Clusters {
    /// The cluster of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.0.get(name)
    }

    /// Adds or replaces a cluster.
    pub fn insert(&mut self, name: Arc<str>, cluster: Arc<Cluster>) {
        self.0.insert(name, cluster);
    }

    /// Removes a cluster; requests that are on their way to it keep it.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Cluster>> {
        self.0.remove(name)
    }

    /// How many clusters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no cluster.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All clusters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Cluster>)> {
        self.0.iter()
    }
}

/// A backend: how to speak to it, and its addresses of this moment.
#[derive(Debug)]
pub struct Cluster {
    protocol: UpstreamProtocol,
    endpoints: ArcSwap<EndpointList>,
    dns: Option<Box<dns::Dns>>,
    /// Made when the first request waits: most clusters never need it.
    changed: OnceLock<Box<Notify>>,
}

impl Cluster {
    /// A cluster with the addresses that are known so far.
    pub fn new(resource: &resource::Cluster, addresses: Arc<[SocketAddr]>) -> Self {
        let dns = match &resource.discovery {
            Discovery::Endpoints => None,
            Discovery::Dns { host, port } => Some(Box::new(dns::Dns::new(Arc::clone(host), *port))),
        };
        let endpoints = ArcSwap::from_pointee(EndpointList::new(addresses));
        Self { protocol: resource.protocol, endpoints, dns, changed: OnceLock::new() }
    }

    /// What is spoken to the endpoints.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// The endpoints of this moment.
    pub fn endpoints(&self) -> Arc<EndpointList> {
        self.endpoints.load_full()
    }

    /// Replaces the addresses and wakes who waits for one. Endpoints that stay keep their counters.
    pub fn set_addresses(&self, addresses: Arc<[SocketAddr]>) {
        let next = self.endpoints.load().with_addresses(addresses);
        self.endpoints.store(Arc::new(next));
        self.wake();
    }

    /// Where the addresses come from, when that is a DNS name.
    pub fn dns(&self) -> Option<&dns::Dns> {
        self.dns.as_deref()
    }

    /// Says when something about the endpoints may have changed.
    pub(crate) fn changed(&self) -> &Notify {
        self.changed.get_or_init(Box::default)
    }

    fn wake(&self) {
        if let Some(changed) = self.changed.get() {
            changed.notify_waiters();
        }
    }
}
