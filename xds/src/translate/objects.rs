//! The records of Ingresses and KIngresses, and the indexes by name, host and server name.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::draft::DraftHost;
use super::secrets::SecretId;
use super::users::IngressId;
use crate::fault::Fault;
use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::resource::PackedRouteSet;
use crate::resource::{HostPattern, Visibility, WildcardDepth};

/// What is kept of an Ingress or KIngress. Host texts are shared with the resources made of it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) namespace: Arc<str>,
    pub(super) name: Box<str>,
    /// Creation time in seconds; see [`super::draft::created`].
    pub(super) created: i64,
    pub(super) routes: SmallVec<[PackedRouteSet; 1]>,
    pub(super) claims: Box<[Claim]>,
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
    pub(super) routes: PackedRouteSet,
    pub(super) visibility: Visibility,
    pub(super) wildcard_depth: WildcardDepth,
    pub(super) redirect_to_https: bool,
}

/// A host that an object would serve, or a server name that it binds to a Secret, or both. 24 bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) host: HostPattern,
    secret: SecretId,
    routes: u16,
    pub(super) visibility: Visibility,
    pub(super) redirect_to_https: bool,
}

const NO_SECRET: SecretId = SecretId::MAX;
const NO_ROUTES: u16 = u16::MAX;

impl Claim {
    /// A host with routes.
    pub(super) fn serves(draft: DraftHost) -> Self {
        // An object with more hosts, and so with more sets of routes, has been rejected.
        let routes = u16::try_from(draft.routes).unwrap_or(NO_ROUTES);
        let DraftHost { host, visibility, redirect_to_https, .. } = draft;
        Self { host, secret: NO_SECRET, routes, visibility, redirect_to_https }
    }

    /// A server name that the object has no routes for.
    pub(super) fn binds(sni: HostPattern, visibility: Visibility) -> Self {
        Self { host: sni, secret: NO_SECRET, routes: NO_ROUTES, visibility, redirect_to_https: false }
    }

    pub(super) fn bind(&mut self, secret: SecretId) {
        self.secret = secret;
    }

    pub(super) fn secret(&self) -> Option<SecretId> {
        (self.secret != NO_SECRET).then_some(self.secret)
    }

    pub(super) fn has_routes(&self) -> bool {
        self.routes != NO_ROUTES
    }
}

impl Record {
    pub(super) fn kind(&self) -> ObjectKind {
        if self.ingress.is_some() { ObjectKind::Ingress } else { ObjectKind::KIngress }
    }

    /// How the object would serve one of its hosts.
    pub(super) fn serving(&self, claim: &Claim) -> Option<Serving> {
        Some(Serving {
            routes: self.routes.get(usize::from(claim.routes))?.clone(),
            visibility: claim.visibility,
            wildcard_depth: if self.is_kingress() { WildcardDepth::Any } else { WildcardDepth::One },
            redirect_to_https: claim.redirect_to_https,
        })
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
        self.slots.len() + self.names.len() + self.hosts.len()
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

    /// Replaces what a record claims. Returns what it claimed before.
    pub(super) fn set(
        &mut self,
        id: IngressId,
        routes: SmallVec<[PackedRouteSet; 1]>,
        claims: Box<[Claim]>,
    ) -> Box<[Claim]> {
        self.unindex(id);
        let record = &mut self.slots[id as usize];
        record.routes = routes;
        let before = std::mem::replace(&mut record.claims, claims);
        self.index(id);
        before
    }

    /// Who would serve a host, and how, in no particular order.
    pub(super) fn host_claims(&self, host: &str) -> impl Iterator<Item = (IngressId, &Record, &Claim)> {
        self.claims(host).filter(|(.., claim)| claim.has_routes())
    }

    /// Who binds a server name, and to which Secret, in no particular order.
    pub(super) fn sni_claims(&self, sni: &str) -> impl Iterator<Item = (IngressId, &Record, &Claim)> {
        self.claims(sni).filter(|(.., claim)| claim.secret().is_some())
    }

    /// The pattern that is in use for a host already.
    pub(super) fn known_host(&self, host: &str) -> Option<&HostPattern> {
        self.claims(host).next().map(|(.., claim)| &claim.host)
    }

    fn claims(&self, host: &str) -> impl Iterator<Item = (IngressId, &Record, &Claim)> {
        let places = self.hosts.iter_hash(self.hasher.hash_one(host));
        let claims = places.map(|place| {
            let record = &self.slots[place.id as usize];
            (place.id, record, &record.claims[place.nth as usize])
        });
        claims.filter(move |(.., claim)| claim.host.as_str() == host)
    }

    fn name_hash(&self, record: &Record) -> u64 {
        self.hasher.hash_one((&*record.namespace, &*record.name, record.kind()))
    }

    fn index(&mut self, id: IngressId) {
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |place: &Place| hasher.hash_one(slots[place.id as usize].claims[place.nth as usize].host.as_str());
        for nth in 0..super::id(slots[id as usize].claims.len()) {
            let place = Place { id, nth };
            self.hosts.insert_unique(hash(&place), place, hash);
        }
    }

    fn unindex(&mut self, id: IngressId) {
        for (nth, claim) in self.slots[id as usize].claims.iter().enumerate() {
            let place = Place { id, nth: super::id(nth) };
            let hash = self.hasher.hash_one(claim.host.as_str());
            if let Ok(entry) = self.hosts.find_entry(hash, |found| *found == place) {
                entry.remove();
            }
        }
    }
}
