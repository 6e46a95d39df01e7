//! Services with their EndpointSlices, and the clusters that routes make of them.
//!
//! A cluster is in effect while some route refers to it and its Service exists and has the port.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::draft::PortRef;
use super::pending::Pending;
use super::service::PackedService;
use super::slice::PackedSlice;
use super::users::{IngressId, Users};
use crate::object::ObjectRef;
use crate::resource::{Cluster, ClusterName, Discovery, UpstreamProtocol};

/// Every Service that exists, has slices, or is referred to by a route.
#[derive(Debug, Default)]
pub(super) struct Backends {
    slots: Slab<Backend>,
    names: HashTable<u32>,
    slices: HashTable<SlicePlace>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
struct Backend {
    /// `namespace/service:…`: the text of one of its clusters, if there ever was one. What follows the colon is nothing
    /// to go by.
    name: Arc<str>,
    service: Option<PackedService>,
    slices: SmallVec<[PackedSlice; 1]>,
    clusters: SmallVec<[Member; 1]>,
}

/// A cluster, and who refers to it.
#[derive(Debug)]
struct Member {
    name: ClusterName,
    users: Users,
}

/// Which backend holds a slice, found by the hash of the slice's name.
#[derive(Clone, Copy, Debug)]
struct SlicePlace {
    backend: u32,
    hash: u32,
}

/// What a cluster is at present: itself and, unless found by DNS, the addresses that are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backing {
    pub(super) cluster: Cluster,
    pub(super) addresses: Option<Vec<SocketAddr>>,
}

/// What keeps a cluster from being in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Service,
    Port,
}

impl Backends {
    /// How many slots and index entries there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.slots.len() + self.names.len() + self.slices.len()
    }

    /// The Service is there and is like this.
    pub(super) fn apply_service(&mut self, object: &ObjectRef, service: PackedService, pending: &mut Pending) {
        let id = self.slot(&object.namespace, &object.name);
        if self.slots[id as usize].service.as_ref() != Some(&service) {
            self.touch(id, pending);
            self.recheck(id, pending);
            self.slots[id as usize].service = Some(service);
        }
    }

    /// The Service is gone.
    pub(super) fn remove_service(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(id) = self.find(&object.namespace, &object.name) else { return };
        self.touch(id, pending);
        self.recheck(id, pending);
        self.slots[id as usize].service = None;
        self.drop_unused(id);
    }

    /// The slice is there, belongs to that Service, and is like this.
    pub(super) fn apply_slice(&mut self, object: &ObjectRef, service: &str, slice: PackedSlice, pending: &mut Pending) {
        let id = self.slot(&object.namespace, service);
        let place = self.find_slice(object);
        if place.is_some_and(|place| place.backend != id) {
            self.remove_slice(object, pending);
        }
        let backend = &self.slots[id as usize];
        let known = backend.slices.iter().position(|known| known.is_named(&object.name, service));
        if known.is_some_and(|known| backend.slices[known] == slice) {
            return;
        }
        self.touch(id, pending);
        let slices = &mut self.slots[id as usize].slices;
        if let Some(known) = known {
            slices[known] = slice;
        } else {
            slices.push(slice);
            let place = SlicePlace { backend: id, hash: self.slice_hash(object) };
            self.slices.insert_unique(spread(place.hash), place, |place| spread(place.hash));
        }
    }

    /// The slice is gone.
    pub(super) fn remove_slice(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(SlicePlace { backend: id, hash }) = self.find_slice(object) else { return };
        self.touch(id, pending);
        let backend = &mut self.slots[id as usize];
        let (_, service) = split(&backend.name);
        if let Some(at) = backend.slices.iter().position(|slice| slice.is_named(&object.name, service)) {
            backend.slices.remove(at);
        }
        if let Ok(entry) = self.slices.find_entry(spread(hash), |place| place.backend == id && place.hash == hash) {
            entry.remove();
        }
        self.drop_unused(id);
    }

    /// An object's routes refer to the cluster from now on.
    pub(super) fn add_user(&mut self, cluster: &ClusterName, user: IngressId, pending: &mut Pending) {
        let (namespace, service) = split(cluster.as_str());
        let id = self.slot(namespace, service);
        pending.touch_cluster(cluster, || self.backing(cluster));
        let backend = &mut self.slots[id as usize];
        if let Some(member) = backend.clusters.iter_mut().find(|member| member.name == *cluster) {
            member.users.insert(user);
            return;
        }
        // One allocation less: the backend goes by the text of its cluster.
        backend.name = Arc::clone(cluster.shared());
        backend.clusters.push(Member { name: cluster.clone(), users: Users::One(user) });
    }

    /// An object's routes no longer refer to the cluster.
    pub(super) fn remove_user(&mut self, cluster: &ClusterName, user: IngressId, pending: &mut Pending) {
        let (namespace, service) = split(cluster.as_str());
        let Some(id) = self.find(namespace, service) else { return };
        pending.touch_cluster(cluster, || self.backing(cluster));
        let backend = &mut self.slots[id as usize];
        if let Some(at) = backend.clusters.iter().position(|member| member.name == *cluster) {
            backend.clusters[at].users.remove(user);
            if backend.clusters[at].users.is_empty() {
                backend.clusters.swap_remove(at);
            }
        }
        self.drop_unused(id);
    }

    /// The cluster as it is at present.
    pub(super) fn backing(&self, cluster: &ClusterName) -> Option<Backing> {
        let (namespace, service) = split(cluster.as_str());
        let backend = &self.slots[self.find(namespace, service)? as usize];
        backend.clusters.iter().find(|member| member.name == *cluster)?;
        backend.backing(port_of(cluster.as_str()))
    }

    /// What the cluster would need to be in effect.
    pub(super) fn lack(&self, cluster: &ClusterName) -> Option<Lack> {
        let (namespace, name) = split(cluster.as_str());
        let backend = self.find(namespace, name).map(|id| &self.slots[id as usize]);
        match backend.and_then(|backend| backend.service.as_ref()) {
            None => Some(Lack::Service),
            Some(service) => service.port(port_of(cluster.as_str())).is_none().then_some(Lack::Port),
        }
    }

    /// The ports that the Service of a cluster has, for messages.
    pub(super) fn ports_of(&self, cluster: &ClusterName) -> String {
        let (namespace, name) = split(cluster.as_str());
        let service = self.find(namespace, name).and_then(|id| self.slots[id as usize].service.as_ref());
        let named = service.into_iter().flat_map(PackedService::ports).take(10).map(|port| match port.name {
            "" => port.number.to_string(),
            name => format!("{} ({name})", port.number),
        });
        named.collect::<Vec<_>>().join(", ")
    }

    fn find(&self, namespace: &str, service: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((namespace, service));
        self.names.find(hash, |id| split(&self.slots[*id as usize].name) == (namespace, service)).copied()
    }

    fn slot(&mut self, namespace: &str, service: &str) -> u32 {
        if let Some(id) = self.find(namespace, service) {
            return id;
        }
        let id = super::id(self.slots.insert(Backend {
            name: format!("{namespace}/{service}:").into(),
            service: None,
            slices: SmallVec::new(),
            clusters: SmallVec::new(),
        }));
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |id: &u32| hasher.hash_one(split(&slots[*id as usize].name));
        self.names.insert_unique(hash(&id), id, hash);
        id
    }

    fn find_slice(&self, object: &ObjectRef) -> Option<SlicePlace> {
        let hash = self.slice_hash(object);
        let is_it = |place: &SlicePlace| {
            let backend = &self.slots[place.backend as usize];
            let (namespace, service) = split(&backend.name);
            place.hash == hash
                && namespace == &*object.namespace
                && backend.slices.iter().any(|slice| slice.is_named(&object.name, service))
        };
        self.slices.find(spread(hash), is_it).copied()
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to find it by")]
    fn slice_hash(&self, object: &ObjectRef) -> u32 {
        self.hasher.hash_one(object) as u32
    }

    fn touch(&self, id: u32, pending: &mut Pending) {
        let backend = &self.slots[id as usize];
        for member in &backend.clusters {
            pending.touch_cluster(&member.name, || backend.backing(port_of(member.name.as_str())));
        }
    }

    fn recheck(&self, id: u32, pending: &mut Pending) {
        for member in &self.slots[id as usize].clusters {
            pending.recheck(member.users.iter());
        }
    }

    fn drop_unused(&mut self, id: u32) {
        let backend = &self.slots[id as usize];
        if backend.service.is_some() || !backend.slices.is_empty() || !backend.clusters.is_empty() {
            return;
        }
        let hash = self.hasher.hash_one(split(&backend.name));
        if let Ok(entry) = self.names.find_entry(hash, |found| *found == id) {
            entry.remove();
        }
        self.slots.remove(id as usize);
    }
}

impl Backend {
    fn backing(&self, port: PortRef<'_>) -> Option<Backing> {
        let service = self.service.as_ref()?;
        let port = service.port(port)?;
        let protocol = if port.h2c { UpstreamProtocol::H2c } else { UpstreamProtocol::Http1 };
        if let Some(host) = service.external_name() {
            let discovery = Discovery::Dns { host: host.into(), port: port.number };
            return Some(Backing { cluster: Cluster { protocol, discovery }, addresses: None });
        }
        let mut addresses = Vec::new();
        for slice in &self.slices {
            slice.addresses(port.name, &mut addresses);
        }
        addresses.sort_unstable();
        addresses.dedup();
        Some(Backing { cluster: Cluster { protocol, discovery: Discovery::Endpoints }, addresses: Some(addresses) })
    }
}

/// Namespace and Service of a cluster's name.
pub(super) fn split(cluster: &str) -> (&str, &str) {
    let service = cluster.rsplit_once(':').map_or(cluster, |(service, _)| service);
    service.split_once('/').unwrap_or(("", service))
}

/// The port of a cluster's name.
pub(super) fn port_of(cluster: &str) -> PortRef<'_> {
    let port = cluster.rsplit_once(':').map_or("", |(_, port)| port);
    PortRef::from_text(port).unwrap_or(PortRef::Name(port))
}

/// Spreads half a hash over all the bits that the table looks at.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
