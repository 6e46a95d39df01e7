//! Upstreams: clusters, their endpoints, and which endpoint a request goes to.
//!
//! ```text
//!  cluster name ─► Clusters ─► Cluster ─► endpoints (own ArcSwap) ─► Upstreams::choose ─► Choice ─► Connector
//!                     ▲  (made by the         ▲                        │ none left: waits, bounded
//!               apply ┘   first request)  dns ┘                        └► Unavailable (503)
//! ```

pub mod address_policy;
pub mod choose;
pub mod clusters;
pub mod connector;
pub mod dns;
pub mod endpoints;
mod pool;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use xds::resource::UpstreamProtocol;

pub use address_policy::Reach;
pub use choose::{Attempts, Choice, Unavailable, Upstreams};
pub use clusters::Clusters;
pub use connector::{Connector, Protocol, UpstreamTimeouts};
pub(crate) use connector::{EndpointExchange, REQUEST_MEMORY};
pub use endpoints::EndpointList;

/// A backend in use: how to speak to it, its addresses of this moment, and what is known of them.
#[derive(Debug)]
pub struct Cluster {
    protocol: UpstreamProtocol,
    endpoints: ArcSwap<EndpointList>,
    dns: Option<dns::Dns>,
    changed: Notify,
}

impl Cluster {
    /// A cluster with the addresses that are known so far.
    fn new(protocol: UpstreamProtocol, addresses: Arc<[SocketAddr]>, dns: Option<dns::Dns>) -> Self {
        let endpoints = ArcSwap::from_pointee(EndpointList::new(addresses));
        Self { protocol, endpoints, dns, changed: Notify::new() }
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
        self.changed.notify_waiters();
    }

    /// Where the addresses come from, when that is a DNS name.
    pub fn dns(&self) -> Option<&dns::Dns> {
        self.dns.as_ref()
    }

    /// Says when something about the endpoints may have changed.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }
}
