//! The records of Ingresses and KIngresses, and the indexes by name, host and server name.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;

use super::draft::Claim;
use super::routes::PackedRoutes;
use super::secrets::SecretId;
use super::users::IngressId;
use crate::fault::Fault;
use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::resource::{HostPattern, Visibility, WildcardDepth};

/// What is kept of an Ingress or KIngress. Host texts are shared with the resources made of it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) namespace: Arc<str>,
    pub(super) name: Box<str>,
    /// Creation time in seconds; see [`super::draft::created`].
    pub(super) created: i64,
    pub(super) routes: Box<[PackedRoutes]>,
    pub(super) claims: Box<[Claim]>,
    pub(super) tls: Box<[TlsClaim]>,
    /// What only Ingress v1 has; a KIngress has none.
    pub(super) ingress: Option<Box<IngressPart>>,
    /// For a KIngress: that no older object owns one of its hosts. For an Ingress: that its class is ours.
    pub(super) in_effect: bool,
    /// That it has faults for what it refers to.
    pub(super) reported: bool,
}

/// The part of a [`Record`] that only Ingress v1 has.
#[derive(Debug)]
pub(super) struct IngressPart {
    /// The class that it asks for; `None` for the default one.
    pub(super) class: Option<Arc<str>>,
    /// What is wrong with it. Told only while its class is ours.
    pub(super) faults: Vec<Fault>,
}

/// A virtual host with its routes packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Serving {
    pub(super) routes: PackedRoutes,
    pub(super) visibility: Visibility,
    pub(super) wildcard_depth: WildcardDepth,
    pub(super) redirect_to_https: bool,
}

/// A server name bound to a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TlsClaim {
    pub(super) sni: HostPattern,
    pub(super) secret: SecretId,
    pub(super) visibility: Visibility,
}

impl Record {
    pub(super) fn kind(&self) -> ObjectKind {
        if self.ingress.is_some() { ObjectKind::Ingress } else { ObjectKind::KIngress }
    }

    /// How the object would serve one of its hosts.
    pub(super) fn serving(&self, claim: &Claim) -> Serving {
        Serving {
            routes: self.routes[claim.routes as usize].clone(),
            visibility: claim.visibility,
            wildcard_depth: claim.wildcard_depth,
            redirect_to_https: claim.redirect_to_https,
        }
    }

    pub(super) fn is_kingress(&self) -> bool {
        self.ingress.is_none()
    }

    pub(super) fn key(&self) -> ObjectKey {
        let object = ObjectRef { namespace: Arc::clone(&self.namespace), name: Arc::from(&*self.name) };
        ObjectKey { kind: self.kind(), object }
    }

    /// Orders objects by age; among equals by namespace and name. Smaller is older.
    pub(super) fn age(&self) -> (i64, &str, &str, ObjectKind) {
        (self.created, &self.namespace, &self.name, self.kind())
    }

    pub(super) fn is_older(&self, other: &Self) -> bool {
        self.age() < other.age()
    }
}

/// All records.
#[derive(Debug, Default)]
pub(super) struct Objects {
    slots: Slab<Record>,
    names: HashTable<IngressId>,
    hosts: HashTable<Place>,
    snis: HashTable<Place>,
    hasher: foldhash::fast::RandomState,
}

/// The n-th claim of a record. A host that several objects claim has as many places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: IngressId,
    nth: u32,
}

impl Objects {
    /// How many slots and index entries there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.slots.len() + self.names.len() + self.hosts.len() + self.snis.len()
    }

    pub(super) fn find(&self, kind: ObjectKind, object: &ObjectRef) -> Option<IngressId> {
        let hash = self.hasher.hash_one((&*object.namespace, &*object.name, kind));
        let is_it = |id: &IngressId| {
            let record = &self.slots[*id as usize];
            *record.name == *object.name && record.namespace == object.namespace && record.kind() == kind
        };
        self.names.find(hash, is_it).copied()
    }

    pub(super) fn get(&self, id: IngressId) -> Option<&Record> {
        self.slots.get(id as usize)
    }

    pub(super) fn get_mut(&mut self, id: IngressId) -> Option<&mut Record> {
        self.slots.get_mut(id as usize)
    }

    /// Adds an empty record; [`Objects::set`] fills it.
    pub(super) fn insert(&mut self, record: Record) -> IngressId {
        let hash = self.name_hash(&record);
        let id = super::id(self.slots.insert(record));
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.names.insert_unique(hash, id, |id| {
            let record = &slots[*id as usize];
            hasher.hash_one((&*record.namespace, &*record.name, record.kind()))
        });
        id
    }

    /// Removes a record whose claims have been taken back with [`Objects::set`].
    pub(super) fn remove(&mut self, id: IngressId) {
        let hash = self.name_hash(&self.slots[id as usize]);
        if let Ok(entry) = self.names.find_entry(hash, |found| *found == id) {
            entry.remove();
        }
        self.slots.remove(id as usize);
    }

    /// Replaces what a record claims. Returns the bindings that it had before.
    pub(super) fn set(
        &mut self,
        id: IngressId,
        routes: Box<[PackedRoutes]>,
        claims: Box<[Claim]>,
        tls: Box<[TlsClaim]>,
    ) -> Box<[TlsClaim]> {
        self.unindex(id);
        let record = &mut self.slots[id as usize];
        record.routes = routes;
        record.claims = claims;
        let before = std::mem::replace(&mut record.tls, tls);
        self.index(id);
        before
    }

    /// Who claims a host, and how, in no particular order.
    pub(super) fn host_claims(&self, host: &str) -> impl Iterator<Item = (IngressId, &Record, &Claim)> {
        let places = self.hosts.iter_hash(self.hasher.hash_one(host));
        let claims = places.map(|place| {
            let record = &self.slots[place.id as usize];
            (place.id, record, &record.claims[place.nth as usize])
        });
        claims.filter(move |(_, _, claim)| claim.host.as_str() == host)
    }

    /// Who binds a server name, in no particular order.
    pub(super) fn sni_claims(&self, sni: &str) -> impl Iterator<Item = (IngressId, &Record, &TlsClaim)> {
        let places = self.snis.iter_hash(self.hasher.hash_one(sni));
        let claims = places.map(|place| {
            let record = &self.slots[place.id as usize];
            (place.id, record, &record.tls[place.nth as usize])
        });
        claims.filter(move |(_, _, claim)| claim.sni.as_str() == sni)
    }

    /// The pattern that is in use for a host already.
    pub(super) fn known_host(&self, host: &str) -> Option<&HostPattern> {
        let claimed = self.host_claims(host).next().map(|(_, _, claim)| &claim.host);
        claimed.or_else(|| self.sni_claims(host).next().map(|(_, _, claim)| &claim.sni))
    }

    fn name_hash(&self, record: &Record) -> u64 {
        self.hasher.hash_one((&*record.namespace, &*record.name, record.kind()))
    }

    fn index(&mut self, id: IngressId) {
        let (slots, hasher) = (&self.slots, &self.hasher);
        let record = &slots[id as usize];
        let host = |place: &Place| hasher.hash_one(slots[place.id as usize].claims[place.nth as usize].host.as_str());
        for nth in 0..super::id(record.claims.len()) {
            let place = Place { id, nth };
            self.hosts.insert_unique(host(&place), place, host);
        }
        let sni = |place: &Place| hasher.hash_one(slots[place.id as usize].tls[place.nth as usize].sni.as_str());
        for nth in 0..super::id(record.tls.len()) {
            let place = Place { id, nth };
            self.snis.insert_unique(sni(&place), place, sni);
        }
    }

    fn unindex(&mut self, id: IngressId) {
        let record = &self.slots[id as usize];
        let hosts = record.claims.iter().map(|claim| claim.host.as_str());
        let snis = record.tls.iter().map(|claim| claim.sni.as_str());
        remove_places(&mut self.hosts, &self.hasher, id, hosts);
        remove_places(&mut self.snis, &self.hasher, id, snis);
    }
}

fn remove_places<'a>(
    table: &mut HashTable<Place>,
    hasher: &foldhash::fast::RandomState,
    id: IngressId,
    texts: impl Iterator<Item = &'a str>,
) {
    for (nth, text) in texts.enumerate() {
        let place = Place { id, nth: super::id(nth) };
        if let Ok(entry) = table.find_entry(hasher.hash_one(text), |found| *found == place) {
            entry.remove();
        }
    }
}
