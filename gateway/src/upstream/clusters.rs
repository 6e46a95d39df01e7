//! Clusters by name: all that are known, in a few bytes each, and those in use.

mod used;

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use certstore::name_map::NameMap;
use xds::resource::{self, Discovery, UpstreamProtocol};

use super::dns::Dns;
use super::{Cluster, Reach};
use used::Used;

/// Clusters by name. One for the process, shared by all snapshots of the tables.
///
/// What is known of a cluster takes about 55 bytes, its addresses included where it is one. A [`Cluster`], which also
/// holds what was learnt from using it, is made when a request asks for it, and given up some time after the last one
/// did: most services are idle. One that resolves a name stays, with the addresses found so far.
#[derive(Debug)]
pub struct Clusters {
    known: ArcSwap<Known>,
    /// Some of the known ones.
    used: ArcSwap<Used>,
    /// Held where one map is replaced by what the other says. A request takes it for a cluster nobody has used lately.
    replacing: Mutex<()>,
    in_use: metrics::Gauge,
    /// Everywhere, unless that is said to be otherwise.
    reach: OnceLock<Reach>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            known: ArcSwap::default(),
            used: ArcSwap::default(),
            replacing: Mutex::default(),
            in_use: metrics::gauge!("postern_upstream_clusters_in_use"),
            reach: OnceLock::new(),
        }
    }
}

/// A persistent map: a copy is cheap, and a change costs O(log n).
type Known = NameMap<Target, UpstreamProtocol>;

/// Where a cluster leads.
#[derive(Clone, Debug)]
enum Target {
    /// To the one endpoint that most services have.
    One(SocketAddrV4),
    /// To these endpoints.
    Many(Arc<[SocketAddr]>),
    /// To what a name resolves to.
    Name(Arc<Cluster>),
}

impl Clusters {
    /// The cluster of a name, in use from now on.
    pub fn get(&self, name: &str) -> Option<Arc<Cluster>> {
        let used = self.used.load().recent(name);
        used.or_else(|| self.put_to_use(name))
    }

    /// True when there is a cluster of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.known.load().get(name).is_some()
    }

    /// How many clusters there are.
    pub fn len(&self) -> usize {
        self.known.load().len()
    }

    /// True when there is no cluster.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says which addresses endpoints may have, before there are any. Once.
    pub fn set_reach(&self, reach: Reach) {
        // There is nobody to say it twice.
        let _ = self.reach.set(reach);
    }

    fn reach(&self) -> Reach {
        self.reach.get().copied().unwrap_or_default()
    }

    /// Begins a change; nothing is seen of it until it is published. There is one who changes clusters: whoever else
    /// publishes in between is overwritten.
    pub fn change(&self) -> Change<'_> {
        Change { clusters: self, known: Known::clone(&self.known.load()), touched: Vec::new() }
    }

    fn put_to_use(&self, name: &str) -> Option<Arc<Cluster>> {
        if let Target::Name(cluster) = &self.known.load().get(name)?.value {
            return Some(Arc::clone(cluster));
        }
        let replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let used = self.used.load();
        if let Some(cluster) = used.recent(name) {
            return Some(cluster);
        }
        let known = self.known.load();
        let entry = known.get(name)?;
        let mut next = used.next();
        let cluster = next.take(&entry.name, || Arc::new(Cluster::new(entry.tag, entry.value.addresses(), None)));
        let before = self.replace_used(next);
        // Those that nobody has used for long end with it: not while others wait.
        drop(replacing);
        drop((used, before));
        Some(cluster)
    }

    fn replace_used(&self, next: Used) -> Arc<Used> {
        self.in_use.set(next.len() as f64);
        self.used.swap(Arc::new(next))
    }
}

/// A change of the known clusters.
#[derive(Debug)]
pub struct Change<'a> {
    clusters: &'a Clusters,
    known: Known,
    touched: Vec<Arc<str>>,
}

impl Change<'_> {
    /// Adds or replaces a cluster. One that had endpoints keeps them; a new one has none yet.
    pub fn insert(&mut self, name: &Arc<str>, cluster: &resource::Cluster) {
        let before = self.known.get(name).map(|entry| &entry.value);
        let target = match (&cluster.discovery, before) {
            (Discovery::Dns { host, port }, Some(Target::Name(same)))
                if same.protocol() == cluster.protocol && same.dns().is_some_and(|dns| dns.is_of(host, *port)) =>
            {
                Target::Name(Arc::clone(same))
            }
            (Discovery::Dns { host, port }, _) => {
                let dns = Dns::new(Arc::clone(host), *port, self.clusters.reach());
                Target::Name(Arc::new(Cluster::new(cluster.protocol, Arc::default(), Some(dns))))
            }
            (Discovery::Endpoints, None | Some(Target::Name(_))) => Target::Many(Arc::default()),
            (Discovery::Endpoints, Some(target)) => target.clone(),
        };
        self.known.insert(Arc::clone(name), target, cluster.protocol);
        self.touched.push(Arc::clone(name));
    }

    /// Replaces the addresses of a cluster, unless it resolves a name, by those of them that may be reached. False when
    /// there is no such cluster.
    pub fn set_addresses(&mut self, name: &Arc<str>, addresses: &Arc<[SocketAddr]>) -> bool {
        let Some(entry) = self.known.get(name) else { return false };
        if !matches!(entry.value, Target::Name(_)) {
            // The text that is kept is the one that is there.
            let (name, protocol) = (Arc::clone(&entry.name), entry.tag);
            self.touched.push(Arc::clone(&name));
            let addresses = self.clusters.reach().within(addresses);
            self.known.insert(name, Target::to(&addresses), protocol);
        }
        true
    }

    /// Removes a cluster; requests that are on their way to it keep it.
    pub fn remove(&mut self, name: &str) {
        if let Some(entry) = self.known.get(name) {
            self.touched.push(Arc::clone(&entry.name));
            self.known.remove(name);
        }
    }

    /// Makes the change visible, also to clusters in use.
    pub fn publish(self) {
        if self.touched.is_empty() {
            return;
        }
        let _replacing = self.clusters.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.clusters.used.load();
        let mut used = Used::clone(&before);
        for name in &self.touched {
            let Some(cluster) = before.get(name) else { continue };
            let follows = self.known.get(name).is_some_and(|entry| entry.value.lead(cluster, entry.tag));
            if !follows {
                used.remove(name);
            }
        }
        self.clusters.known.store(Arc::new(self.known));
        if used.len() != before.len() {
            self.clusters.replace_used(used);
        }
    }
}

impl Target {
    fn to(addresses: &Arc<[SocketAddr]>) -> Self {
        match **addresses {
            [SocketAddr::V4(address)] => Self::One(address),
            _ => Self::Many(Arc::clone(addresses)),
        }
    }

    fn addresses(&self) -> Arc<[SocketAddr]> {
        match self {
            Self::One(address) => Arc::from([SocketAddr::V4(*address)]),
            Self::Many(addresses) => Arc::clone(addresses),
            Self::Name(_) => Arc::default(),
        }
    }

    /// Tells a cluster in use its addresses. False when it is not what it was made for any more: another is to be made.
    fn lead(&self, cluster: &Cluster, protocol: UpstreamProtocol) -> bool {
        if matches!(self, Self::Name(_)) || cluster.protocol() != protocol {
            return false;
        }
        let addresses = self.addresses();
        if *cluster.endpoints().addresses() != addresses {
            cluster.set_addresses(addresses);
        }
        true
    }
}

#[cfg(test)]
mod tests;
