//! Apply: carries an Update into the running tables, in the order that leaves no route without its cluster.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use certstore::{CertStore, SecretRef, SniPattern, TlsBinding};
use tokio::sync::watch;
use xds::Update;
use xds::resource::{self, ClusterName, Discovery, EndpointSet, HostPattern, PackedRouteSet, VirtualHost};

use crate::route::{HostEntry, Routes};
use crate::tables::{Snapshot, Tables};
use crate::upstream::Cluster;

mod figures;

use figures::Figures;

pub use figures::describe_metrics;

/// Who wants to know that a Secret changed: the certificate store.
pub trait SecretEvents: Send + Sync + std::fmt::Debug {
    /// The Secret is there, in this version.
    fn secret_changed(&self, secret: &SecretRef, version: &str);
    /// The Secret is gone.
    fn secret_removed(&self, secret: &SecretRef);
}

impl SecretEvents for CertStore {
    fn secret_changed(&self, secret: &SecretRef, version: &str) {
        Self::secret_changed(self, secret, version);
    }

    fn secret_removed(&self, secret: &SecretRef) {
        Self::secret_removed(self, secret);
    }
}

/// Applies [`Update`]s, one after the other; the only writer of the tables.
///
/// Each Update becomes visible as a whole with one new [`Snapshot`]. Endpoints are apart: they are swapped in their
/// cluster, and an Update of endpoints or Secrets alone makes no snapshot.
#[derive(Debug)]
pub struct Applier {
    tables: Tables,
    secrets: Arc<dyn SecretEvents>,
    applied: watch::Sender<u64>,
    /// Endpoints that came without their cluster; they wait for it.
    homeless: HashMap<ClusterName, Arc<[SocketAddr]>>,
    figures: Figures,
}

/// Routes made in this Update, so that the hosts of one rule share them: by the identity of the set and of
/// what the host had before, where that matters.
type Made = HashMap<(*const u8, Option<*const Routes>), Arc<Routes>>;

impl Applier {
    /// The applier of these tables.
    pub fn new(tables: Tables, secrets: Arc<dyn SecretEvents>) -> Self {
        let applied = watch::Sender::new(tables.load().version);
        Self { tables, secrets, applied, homeless: HashMap::new(), figures: Figures::new() }
    }

    /// Follows the version that was applied last. It rises also with Updates that made no new snapshot.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Applies an Update.
    pub fn apply(&mut self, update: Update) {
        let started = Instant::now();
        let version = update.version;
        let changes_tables =
            !(update.clusters.is_empty() && update.virtual_hosts.is_empty() && update.tls_bindings.is_empty());
        let mut next = Snapshot::clone(&self.tables.load());
        next.version = version;
        let dropped = self.add_clusters(&mut next, update.clusters);
        self.set_endpoints(&next, update.endpoints, &dropped);
        switch_hosts(&mut next, update.virtual_hosts);
        switch_bindings(&mut next, update.tls_bindings);
        for name in &dropped {
            next.clusters.remove(name.as_str());
        }
        self.figures.resources(&next);
        if changes_tables {
            self.tables.store(Arc::new(next));
        }
        self.tell_secrets(update.secrets);
        self.applied.send_replace(version);
        self.figures.applied(version, started.elapsed());
    }

    /// Adds and replaces; hands back the names that are to be dropped at the end.
    fn add_clusters(
        &mut self,
        next: &mut Snapshot,
        changes: resource::Changes<ClusterName, resource::Cluster>,
    ) -> HashSet<ClusterName> {
        let mut dropped = HashSet::new();
        for (name, cluster) in changes {
            let Some(cluster) = cluster else {
                dropped.insert(name);
                continue;
            };
            let addresses = match next.clusters.get(name.as_str()) {
                _ if cluster.discovery != Discovery::Endpoints => Arc::default(),
                Some(old) if old.dns().is_none() => Arc::clone(old.endpoints().addresses()),
                _ => self.homeless.remove(&name).unwrap_or_default(),
            };
            next.clusters.insert(Arc::clone(name.shared()), Arc::new(Cluster::new(&cluster, addresses)));
        }
        dropped
    }

    /// A cluster that is about to be dropped is left as it is: a route may have kept it as its last good one.
    fn set_endpoints(
        &mut self,
        next: &Snapshot,
        changes: resource::Changes<ClusterName, EndpointSet>,
        dropped: &HashSet<ClusterName>,
    ) {
        for (name, endpoints) in changes {
            let cluster = next.clusters.get(name.as_str()).filter(|_| !dropped.contains(&name));
            match (cluster, endpoints) {
                // Its name is resolved; endpoints are not for it.
                (Some(cluster), _) if cluster.dns().is_some() => {}
                (Some(cluster), endpoints) => cluster.set_addresses(endpoints.unwrap_or_default().addresses),
                (None, Some(endpoints)) => {
                    self.homeless.insert(name, endpoints.addresses);
                }
                (None, None) => {
                    self.homeless.remove(&name);
                }
            }
        }
    }

    fn tell_secrets(&self, changes: resource::Changes<xds::ObjectRef, resource::SecretVersion>) {
        for (secret, version) in changes {
            let secret = secret_ref(&secret);
            match version {
                Some(version) => self.secrets.secret_changed(&secret, &version.0),
                None => self.secrets.secret_removed(&secret),
            }
        }
    }
}

fn switch_hosts(next: &mut Snapshot, changes: resource::Changes<HostPattern, VirtualHost>) {
    let mut made = Made::new();
    for (pattern, host) in changes {
        let Some(host) = host else {
            next.routes.remove(&pattern);
            continue;
        };
        let routes = routes_for(&mut made, next, &pattern, &host.routes);
        let entry = HostEntry {
            routes,
            visibility: host.visibility,
            depth: host.wildcard_depth,
            redirect_to_https: host.redirect_to_https,
        };
        next.routes.insert(&pattern, entry);
    }
}

/// Hosts share what was made of the same set, unless routes of before are kept in it and these differ.
fn routes_for(made: &mut Made, next: &Snapshot, pattern: &HostPattern, set: &PackedRouteSet) -> Arc<Routes> {
    let find = |name: &str| next.clusters.get(name).cloned();
    let identity = set.as_ptr();
    if let Some(routes) = made.get(&(identity, None)) {
        return Arc::clone(routes);
    }
    let before = next.routes.entry(pattern).map(|entry| &entry.routes);
    let before_identity = before.map(Arc::as_ptr);
    if let Some(routes) = made.get(&(identity, before_identity)) {
        return Arc::clone(routes);
    }
    let routes = Arc::new(Routes::new(set.clone(), before.map(|before| &**before), find));
    let key = if routes.is_served(|name| find(name).is_some()) { None } else { before_identity };
    made.insert((identity, key), Arc::clone(&routes));
    routes
}

fn switch_bindings(next: &mut Snapshot, changes: resource::Changes<HostPattern, resource::TlsBinding>) {
    for (pattern, binding) in changes {
        let sni = match SniPattern::try_from(Arc::clone(pattern.shared())) {
            Ok(sni) => sni,
            Err(error) => {
                tracing::warn!(sni = pattern.as_str(), %error, "refused a TLS binding");
                continue;
            }
        };
        match binding {
            Some(binding) => {
                let binding = TlsBinding { secret: secret_ref(&binding.secret), policy: binding.visibility };
                next.tls.insert(sni, binding);
            }
            None => {
                next.tls.remove(&sni);
            }
        }
    }
}

/// The same Secret in certstore's words; the texts are shared.
pub fn secret_ref(object: &xds::ObjectRef) -> SecretRef {
    SecretRef { namespace: Arc::clone(&object.namespace), name: Arc::clone(&object.name) }
}

#[cfg(test)]
mod tests;
