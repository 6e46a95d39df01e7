//! Services with their EndpointSlices, and the clusters that routes make of them.
//!
//! A cluster is in effect while some route refers to it and its Service exists and has the port.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use super::draft::PortRef;
use super::pending::Pending;
use super::service::{PackedService, Port, Speaks};
use super::slice::{PackedSlice, Serving};
use super::users::{Crowds, IngressId, Users};
use crate::object::ObjectRef;
use crate::resource::{Cluster, ClusterName, Discovery, UpstreamProtocol, cluster_parts};
use crate::store::{PackId, Packs, Slots};

mod content;

use content::Content;

type BackendId = u32;

/// Every Service that exists, has slices, or is referred to by a route.
#[derive(Debug, Default)]
pub(super) struct Backends {
    slots: Slots<Backend>,
    contents: Packs,
    names: HashTable<BackendId>,
    /// Of those whose routes name several ports: the clusters of all but one.
    further: HashMap<BackendId, Vec<Member>>,
    /// Which backend holds a slice whose name does not say it; see [`Backends::find_slice`].
    strays: HashMap<ObjectRef, BackendId>,
    crowds: Crowds,
    hasher: foldhash::fast::RandomState,
}

/// 24 bytes.
#[derive(Debug)]
struct Backend {
    /// `namespace/service:port`: the cluster of these users. Without users, what follows the colon is nothing to go by.
    /// Shared with whoever applies Updates.
    name: Arc<str>,
    users: Users,
    content: PackId,
}

/// A cluster, and who refers to it.
#[derive(Debug)]
struct Member {
    name: ClusterName,
    users: Users,
}

/// What a cluster is at present: itself and, unless found by DNS, the addresses that are ready; where none is, those that
/// end and still serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backing {
    pub(super) cluster: Cluster,
    pub(super) addresses: Option<Vec<SocketAddr>>,
}

/// What keeps a cluster from being in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack<'a> {
    Service,
    Port,
    /// TLS to endpoints. By this `appProtocol`, or by the port's name if it is empty.
    Tls(&'a str),
}

impl Backends {
    /// How many backends, index entries and what goes with them there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let indexes = self.names.len() + self.further.len() + self.strays.len();
        self.slots.len() + self.contents.len() + self.crowds.len() + indexes
    }

    /// The Service is there and is like this.
    pub(super) fn apply_service(&mut self, object: &ObjectRef, service: PackedService<'_>, pending: &mut Pending) {
        let id = self.slot(&object.namespace, &object.name);
        self.replace_service(id, Some(service), pending);
    }

    /// The Service is gone.
    pub(super) fn remove_service(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(id) = self.find(&object.namespace, &object.name) else { return };
        self.replace_service(id, None, pending);
        self.drop_unused(id);
    }

    fn replace_service(&mut self, id: BackendId, service: Option<PackedService<'_>>, pending: &mut Pending) {
        let content = self.content(id);
        if content.service == service {
            return;
        }
        let content = content.with_service(service);
        self.touch(id, pending);
        self.members(id).for_each(|(_, users)| pending.recheck(self.crowds.iter(users)));
        self.set_content(id, &content);
    }

    /// The slice is there, belongs to that Service, and is like this.
    pub(super) fn apply_slice(
        &mut self,
        object: &ObjectRef,
        service: &str,
        slice: PackedSlice<'_>,
        pending: &mut Pending,
    ) {
        if self.find_slice(object).is_some_and(|place| self.find(&object.namespace, service) != Some(place)) {
            self.remove_slice(object, pending);
        }
        let id = self.slot(&object.namespace, service);
        let content = self.content(id);
        let known = content.slice(&object.name, service);
        if known == Some(slice) {
            return;
        }
        let (is_new, content) = (known.is_none(), content.with_slice(known, Some(slice)));
        self.touch(id, pending);
        self.set_content(id, &content);
        if is_new && likely_service(object) != Some(service) {
            self.strays.insert(object.clone(), id);
        }
    }

    /// The slice is gone.
    pub(super) fn remove_slice(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(id) = self.find_slice(object) else { return };
        self.touch(id, pending);
        let content = self.content(id);
        let content = content.with_slice(content.slice(&object.name, self.service_of(id)), None);
        self.set_content(id, &content);
        self.strays.remove(object);
        self.drop_unused(id);
    }

    /// An object's routes refer to the cluster from now on.
    pub(super) fn add_user(&mut self, cluster: &ClusterName, user: IngressId, pending: &mut Pending) {
        let (namespace, service, _) = cluster_parts(cluster.as_str());
        let id = self.slot(namespace, service);
        pending.touch_cluster(cluster, || self.backing(cluster));
        let is_further = self.further.get(&id).is_some_and(|all| all.iter().any(|member| member.name == *cluster));
        let Some(backend) = self.slots.get_mut(id) else { return };
        if backend.users.is_empty() && !is_further {
            backend.name = Arc::clone(cluster.shared());
        }
        if *backend.name == *cluster.as_str() && !is_further {
            backend.users = self.crowds.insert(backend.users, user);
            return;
        }
        let further = self.further.entry(id).or_default();
        match further.iter_mut().find(|member| member.name == *cluster) {
            Some(member) => member.users = self.crowds.insert(member.users, user),
            None => further.push(Member { name: cluster.clone(), users: self.crowds.insert(Users::NONE, user) }),
        }
    }

    /// An object's routes no longer refer to the cluster.
    pub(super) fn remove_user(&mut self, cluster: &ClusterName, user: IngressId, pending: &mut Pending) {
        let (namespace, service, _) = cluster_parts(cluster.as_str());
        let Some(id) = self.find(namespace, service) else { return };
        pending.touch_cluster(cluster, || self.backing(cluster));
        let main = self.slots.get_mut(id).filter(|backend| *backend.name == *cluster.as_str());
        if let Some(backend) = main.filter(|backend| !backend.users.is_empty()) {
            backend.users = self.crowds.remove(backend.users, user);
        } else if let Some(further) = self.further.get_mut(&id) {
            for member in further.iter_mut().filter(|member| member.name == *cluster) {
                member.users = self.crowds.remove(member.users, user);
            }
            further.retain(|member| !member.users.is_empty());
            if further.is_empty() {
                self.further.remove(&id);
            }
        }
        self.drop_unused(id);
    }

    /// The cluster as it is at present.
    pub(super) fn backing(&self, cluster: &ClusterName) -> Option<Backing> {
        let (namespace, service, _) = cluster_parts(cluster.as_str());
        let id = self.find(namespace, service)?;
        self.members(id).find(|(name, _)| *name == cluster.as_str())?;
        self.content(id).backing(port_of(cluster.as_str()))
    }

    /// What the cluster would need to be in effect.
    pub(super) fn lack<'a>(&'a self, cluster: &'a ClusterName) -> Option<Lack<'a>> {
        let Some(service) = self.service(cluster) else { return Some(Lack::Service) };
        match service.port(port_of(cluster.as_str())) {
            None => Some(Lack::Port),
            Some(Port { speaks: Speaks::Tls(protocol), .. }) => Some(Lack::Tls(protocol)),
            Some(_) => None,
        }
    }

    /// The ports that the Service of a cluster has, for messages.
    pub(super) fn ports_of(&self, cluster: &ClusterName) -> String {
        let ports = self.service(cluster).into_iter().flat_map(PackedService::ports);
        let named = ports.take(10).map(|port| match port.name {
            "" => port.number.to_string(),
            name => format!("{} ({name})", port.number),
        });
        named.collect::<Vec<_>>().join(", ")
    }

    fn service(&self, cluster: &ClusterName) -> Option<PackedService<'_>> {
        let (namespace, name, _) = cluster_parts(cluster.as_str());
        self.content(self.find(namespace, name)?).service
    }

    fn find(&self, namespace: &str, service: &str) -> Option<BackendId> {
        let hash = self.hasher.hash_one((namespace, service));
        let is_it = |id: &BackendId| {
            self.slots.get(*id).is_some_and(|backend| {
                let (its_namespace, its_service, _) = cluster_parts(&backend.name);
                (its_namespace, its_service) == (namespace, service)
            })
        };
        self.names.find(hash, is_it).copied()
    }

    fn slot(&mut self, namespace: &str, service: &str) -> BackendId {
        if let Some(id) = self.find(namespace, service) {
            return id;
        }
        let (name, content) = (format!("{namespace}/{service}:").into(), self.contents.insert(&[]));
        let id = self.slots.insert(Backend { name, users: Users::NONE, content });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.names.insert_unique(name_hash(slots, id, hasher), id, |id| name_hash(slots, *id, hasher));
        id
    }

    /// The backend that holds a slice. Nearly all slices are called by their Service with a random end, so they need no
    /// index of their own.
    fn find_slice(&self, object: &ObjectRef) -> Option<BackendId> {
        if let Some(service) = likely_service(object)
            && let Some(id) = self.find(&object.namespace, service)
            && self.content(id).slice(&object.name, service).is_some()
        {
            return Some(id);
        }
        self.strays.get(object).copied()
    }

    /// The clusters of a backend that routes refer to, and who does.
    fn members(&self, id: BackendId) -> impl Iterator<Item = (&str, Users)> {
        let first = self.slots.get(id).map(|backend| (&*backend.name, backend.users));
        let further = self.further.get(&id).into_iter().flatten();
        let further = further.map(|member| (member.name.as_str(), member.users));
        first.into_iter().chain(further).filter(|(_, users)| !users.is_empty())
    }

    fn content(&self, id: BackendId) -> Content<'_> {
        Content::read(self.slots.get(id).map_or(&[], |backend| self.contents.get(backend.content)))
    }

    fn set_content(&mut self, id: BackendId, content: &[u8]) {
        if let Some(backend) = self.slots.get_mut(id) {
            backend.content = self.contents.replace(backend.content, content);
        }
    }

    fn service_of(&self, id: BackendId) -> &str {
        self.slots.get(id).map_or("", |backend| cluster_parts(&backend.name).1)
    }

    fn touch(&self, id: BackendId, pending: &mut Pending) {
        for (name, _) in self.members(id) {
            // The text of the first is shared.
            let shared = self.slots.get(id).map(|backend| &backend.name).filter(|first| &***first == name);
            let cluster = ClusterName::new(shared.map_or_else(|| name.into(), Arc::clone));
            pending.touch_cluster(&cluster, || self.content(id).backing(port_of(name)));
        }
    }

    fn drop_unused(&mut self, id: BackendId) {
        if self.members(id).next().is_some() || !self.content(id).is_empty() {
            return;
        }
        let hash = name_hash(&self.slots, id, &self.hasher);
        if let Ok(entry) = self.names.find_entry(hash, |found| *found == id) {
            entry.remove();
        }
        if let Some(gone) = self.slots.remove(id) {
            self.contents.remove(gone.content);
        }
    }
}

impl Content<'_> {
    fn backing(self, port: PortRef<'_>) -> Option<Backing> {
        let service = self.service?;
        let port = service.port(port)?;
        let protocol = match port.speaks {
            Speaks::Http1 => UpstreamProtocol::Http1,
            Speaks::H2c => UpstreamProtocol::H2c,
            // Nothing is sent in clear to what expects TLS.
            Speaks::Tls(_) => return None,
        };
        if let Some(host) = service.external_name() {
            let discovery = Discovery::Dns { host: host.into(), port: port.number };
            return Some(Backing { cluster: Cluster { protocol, discovery }, addresses: None });
        }
        let ready = self.addresses(port.name, Serving::Ready);
        let addresses = if ready.is_empty() { self.addresses(port.name, Serving::Terminating) } else { ready };
        Some(Backing { cluster: Cluster { protocol, discovery: Discovery::Endpoints }, addresses: Some(addresses) })
    }

    /// The addresses in a state, sorted and each once.
    fn addresses(self, port: &str, state: Serving) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for slice in self.slices() {
            slice.addresses(port, state, &mut addresses);
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// The port of a cluster's name.
fn port_of(cluster: &str) -> PortRef<'_> {
    let (.., port) = cluster_parts(cluster);
    PortRef::from_text(port).unwrap_or(PortRef::Name(port))
}

/// The Service that a slice belongs to by its name.
fn likely_service(slice: &ObjectRef) -> Option<&str> {
    slice.name.rsplit_once('-').map(|(service, _)| service)
}

fn name_hash(slots: &Slots<Backend>, id: BackendId, hasher: &foldhash::fast::RandomState) -> u64 {
    slots.get(id).map_or(0, |backend| {
        let (namespace, service, _) = cluster_parts(&backend.name);
        hasher.hash_one((namespace, service))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_takes_24_bytes_besides_its_texts() {
        assert_eq!(size_of::<Backend>(), 24);
    }
}
