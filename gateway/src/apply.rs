//! Apply: carries an Update into the running tables, in the order that leaves no route without its cluster.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use certstore::{CertStore, SecretRef, SniPattern, TlsBinding};
use tokio::sync::watch;
use xds::Update;
use xds::resource::{self, ClusterName, EndpointSet, HostPattern, PackedRouteSet, VirtualHost};

use crate::route::{HostPolicy, Routes};
use crate::tables::{Snapshot, Tables};
use crate::upstream::clusters;

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
/// Routes and TLS bindings of an Update become visible as a whole with one new [`Snapshot`]; its clusters and endpoints
/// are there before, and clusters that it drops go after. Where it says nothing else, there is no new snapshot.
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
        let changes_tables = !(update.virtual_hosts.is_empty() && update.tls_bindings.is_empty());
        let mut next = Snapshot::clone(&self.tables.load());
        next.version = version;
        let clusters = Arc::clone(&next.clusters);
        let mut change = clusters.change();
        let dropped = self.add_clusters(&mut change, update.clusters);
        self.set_endpoints(&mut change, update.endpoints, &dropped);
        change.publish();
        switch_hosts(&mut next, update.virtual_hosts);
        switch_bindings(&mut next, update.tls_bindings);
        if changes_tables {
            self.tables.store(Arc::new(next));
        }
        let mut change = clusters.change();
        for name in &dropped {
            change.remove(name.as_str());
        }
        change.publish();
        self.figures.resources(&self.tables.load());
        self.tell_secrets(update.secrets);
        self.applied.send_replace(version);
        self.figures.applied(version, started.elapsed());
    }

    /// Adds and replaces; hands back the names that are to be dropped at the end.
    fn add_clusters(
        &mut self,
        change: &mut clusters::Change<'_>,
        clusters: resource::Changes<ClusterName, resource::Cluster>,
    ) -> HashSet<ClusterName> {
        let mut dropped = HashSet::new();
        for (name, cluster) in clusters {
            let Some(cluster) = cluster else {
                dropped.insert(name);
                continue;
            };
            change.insert(name.shared(), &cluster);
            if let Some(addresses) = self.homeless.remove(&name) {
                change.set_addresses(name.shared(), &addresses);
            }
        }
        dropped
    }

    /// A cluster that is about to be dropped is left as it is: a route may have kept it as its last good one.
    fn set_endpoints(
        &mut self,
        change: &mut clusters::Change<'_>,
        endpoints: resource::Changes<ClusterName, EndpointSet>,
        dropped: &HashSet<ClusterName>,
    ) {
        for (name, endpoints) in endpoints {
            let is_gone = endpoints.is_none();
            let addresses = endpoints.unwrap_or_default().addresses;
            if !dropped.contains(&name) && change.set_addresses(name.shared(), &addresses) {
                continue;
            }
            if is_gone {
                self.homeless.remove(&name);
            } else {
                self.homeless.insert(name, addresses);
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
        let policy = HostPolicy {
            visibility: host.visibility,
            depth: host.wildcard_depth,
            redirect_to_https: host.redirect_to_https,
        };
        next.routes.insert(&pattern, routes, policy);
    }
}

/// Hosts share what was made of the same set, unless routes of before are kept in it and these differ.
fn routes_for(made: &mut Made, next: &Snapshot, pattern: &HostPattern, set: &PackedRouteSet) -> Arc<Routes> {
    let identity = set.as_ptr();
    if let Some(routes) = made.get(&(identity, None)) {
        return Arc::clone(routes);
    }
    let before = next.routes.get(pattern).map(|host| host.routes);
    let before_identity = before.map(Arc::as_ptr);
    if let Some(routes) = made.get(&(identity, before_identity)) {
        return Arc::clone(routes);
    }
    let routes = Arc::new(Routes::new(set.clone(), before.map(|before| &**before), &next.clusters));
    let key = if routes.is_served(|name| next.clusters.contains(name)) { None } else { before_identity };
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
