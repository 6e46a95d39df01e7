//! Clusters behind a DNS name: resolved when asked for, kept a while, refreshed behind the requests' back.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::address_policy::count_refused;
use super::endpoints::clock;
use super::{Cluster, Reach};

/// How long an answer is used before it is asked for again. The system resolver doesn't tell the record's TTL.
const FRESH: Duration = Duration::from_secs(10);
/// How long after a failure the name is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are asked for at a time, those included that nobody waits for any more: the system resolver blocks a thread,
/// and the threads for that also read certificates.
const LOOKUPS: usize = 64;
/// Most addresses that are kept of an answer.
const MAX_ADDRESSES: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(LOOKUPS);

/// A name to resolve, and when to do so next. The addresses are kept in the cluster's endpoints.
#[derive(Debug)]
pub struct Dns {
    host: Arc<str>,
    port: u16,
    /// What it may resolve to.
    reach: Reach,
    /// Milliseconds of [`clock`] from which the answer is to be refreshed; 0 before the first.
    due: AtomicU64,
    /// Single flight: one lookup at a time.
    running: AtomicBool,
}

impl Dns {
    pub(super) fn new(host: Arc<str>, port: u16, reach: Reach) -> Self {
        Self { host, port, reach, due: AtomicU64::new(0), running: AtomicBool::new(false) }
    }

    /// The name that is resolved.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// True when this is the name that is resolved, and the port its addresses have.
    pub(super) fn is_of(&self, host: &str, port: u16) -> bool {
        (&*self.host, self.port) == (host, port)
    }
}

/// Starts a lookup if one is due and none is running. The addresses known so far stay in use meanwhile, and after a
/// failure.
pub(super) fn refresh(cluster: &Arc<Cluster>) {
    let Some(dns) = cluster.dns() else { return };
    if dns.due.load(Ordering::Relaxed) > clock() || dns.running.swap(true, Ordering::AcqRel) {
        return;
    }
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move {
        let Some(dns) = cluster.dns() else { return };
        let next = match lookup(Arc::clone(&dns.host), dns.port, dns.reach).await {
            Ok(addresses) => {
                if *addresses != **cluster.endpoints().addresses() {
                    cluster.set_addresses(addresses.into());
                }
                FRESH
            }
            Err(error) => {
                tracing::warn!(host = %dns.host, %error, "cannot resolve the name of a cluster");
                metrics::counter!("postern_upstream_dns_failures_total").increment(1);
                RETRY
            }
        };
        let next = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        dns.due.store(clock().saturating_add(next).max(1), Ordering::Relaxed);
        dns.running.store(false, Ordering::Release);
    });
}

/// Dropped, the resolver goes on and keeps its turn.
async fn lookup(host: Arc<str>, port: u16, reach: Reach) -> io::Result<Vec<SocketAddr>> {
    let asking = async {
        let turn = TURNS.acquire().await.map_err(io::Error::other)?;
        let resolving = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            (&*host, port).to_socket_addrs()
        });
        resolving.await.map_err(io::Error::other)?
    };
    let answer = tokio::time::timeout(TIMEOUT, asking).await??;
    let mut addresses: Vec<_> = answer.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let found = addresses.len();
    addresses.retain(|address| reach.includes(address.ip()));
    count_refused(found - addresses.len());
    if addresses.is_empty() {
        let message = "the name leads to this host or its link, where only loopback-endpoints lets services lead";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds::resource::UpstreamProtocol;

    fn cluster(host: &str) -> Arc<Cluster> {
        Arc::new(Cluster::new(
            UpstreamProtocol::Http1,
            Arc::default(),
            Some(Dns::new(Arc::from(host), 8012, Reach::Everywhere)),
        ))
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_become_the_clusters_endpoints() {
        let cluster = cluster("127.0.0.1");
        let changed = cluster.changed().notified();
        refresh(&cluster);
        changed.await;
        assert_eq!(**cluster.endpoints().addresses(), [SocketAddr::from(([127, 0, 0, 1], 8012))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_waits_for_its_turn_no_longer_than_for_an_answer() {
        let _hanging = TURNS.acquire_many(LOOKUPS.try_into().unwrap()).await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(lookup(Arc::from("127.0.0.1"), 80, Reach::Everywhere).await.is_err());
        assert_eq!(began.elapsed(), TIMEOUT);
    }

    #[tokio::test]
    async fn a_name_does_not_lead_to_this_host_unless_it_may() {
        for name in ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1", "127.1", "169.254.169.254"] {
            let refused = lookup(Arc::from(name), 9_901, Reach::Elsewhere).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{name}: {refused}");
        }
        let elsewhere = lookup(Arc::from("192.0.2.1"), 80, Reach::Elsewhere).await.unwrap();
        assert_eq!(elsewhere, [SocketAddr::from(([192, 0, 2, 1], 80))]);
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_keeps_its_last_addresses() {
        let cluster = cluster("name.invalid");
        cluster.set_addresses(Arc::from([SocketAddr::from(([10, 0, 0, 1], 80))]));
        refresh(&cluster);
        while cluster.dns().expect("by name").running.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        assert_eq!(cluster.endpoints().addresses().len(), 1);
    }
}
