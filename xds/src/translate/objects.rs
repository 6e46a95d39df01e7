//! The records of Ingresses and KIngresses, and the indexes by name, host and server name.

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

use super::host;
use super::users::IngressId;
use crate::fault::Fault;
use crate::object::{ObjectKind, ObjectRef};
use crate::resource::PackedRouteSet;
use crate::status::{Marks, Published};
use crate::store::{Namespaces, PackId, Packs, Slots};

mod claim;
mod record;

pub(super) use claim::{Claim, NewClaim};
pub(super) use record::{Record, Serving};

use record::{Head, RecordState};

/// More hosts than this are not taken of one object, whatever the settings say: a [`Place`] counts bytes in 24 bits.
pub(super) const MOST_HOSTS: usize = 60_000;

/// All records.
#[derive(Debug, Default)]
pub(super) struct Objects {
    records: Records,
    names: HashTable<IngressId>,
    hosts: HashTable<Place>,
    /// What only Ingress v1 has.
    parts: HashMap<IngressId, IngressPart>,
    hasher: foldhash::fast::RandomState,
}

/// The part of a record that only Ingress v1 has.
#[derive(Debug)]
pub(super) struct IngressPart {
    /// The class that it asks for; `None` for the default one.
    pub(super) class: Option<Arc<str>>,
    /// What is wrong with it. Told only while its class is ours.
    pub(super) faults: Vec<Fault>,
}

/// What an object contributes, as it is kept.
#[derive(Debug)]
pub(super) struct Contribution {
    routes: RouteSets,
    pack: Vec<u8>,
}

#[derive(Debug, Default)]
struct Records {
    slots: Slots<Kept>,
    packs: Packs,
    namespaces: Namespaces,
}

/// 48 bytes.
#[derive(Debug)]
struct Kept {
    routes: RouteSets,
    pack: PackId,
    state: RecordState,
}

/// One set of routes is usual, and is kept inline.
#[derive(Debug, PartialEq, Eq)]
enum RouteSets {
    One(PackedRouteSet),
    Other(Box<Box<[PackedRouteSet]>>),
}

/// The record that claims hosts of a family (see [`host::family`]), and where these claims stand there, one after the
/// other. A host that several objects claim has as many places.
///
/// Of bytes, so that nothing is lost to alignment: there are two in the table for each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    id: [u8; 4],
    at: [u8; 3],
}

impl Objects {
    /// How many records, index entries and what goes with them there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let Records { slots, packs, namespaces } = &self.records;
        slots.len() + packs.len() + namespaces.len() + self.names.len() + self.hosts.len() + self.parts.len()
    }

    pub(super) fn find(&self, kind: ObjectKind, object: &ObjectRef) -> Option<IngressId> {
        let hash = self.hasher.hash_one((&*object.namespace, &*object.name, kind));
        let is_it = |id: &IngressId| {
            self.records.get(*id).is_some_and(|record| {
                *record.name == *object.name && *record.namespace == object.namespace && record.kind() == kind
            })
        };
        self.names.find(hash, is_it).copied()
    }

    pub(super) fn get(&self, id: IngressId) -> Option<Record<'_>> {
        self.records.get(id)
    }

    /// Every record.
    pub(super) fn all(&self) -> impl Iterator<Item = Record<'_>> {
        self.names.iter().filter_map(|id| self.records.get(*id))
    }

    /// What only Ingress v1 has; a KIngress has none.
    pub(super) fn part(&self, id: IngressId) -> Option<&IngressPart> {
        self.parts.get(&id)
    }

    /// Every Ingress v1.
    pub(super) fn ingresses(&self) -> impl Iterator<Item = IngressId> {
        self.parts.keys().copied()
    }

    pub(super) fn part_mut(&mut self, id: IngressId) -> Option<&mut IngressPart> {
        self.parts.get_mut(&id)
    }

    /// Adds a record that claims nothing; [`Objects::set`] fills it.
    pub(super) fn insert(&mut self, object: &ObjectRef, part: Option<IngressPart>) -> IngressId {
        let namespace = self.records.namespaces.enter(&object.namespace);
        let head = Head { namespace, created: i64::MAX, name: &object.name };
        let pack = self.records.packs.insert(&record::pack(&head, &object.namespace, &[]));
        let state = RecordState::new(part.is_none());
        let id = self.records.slots.insert(Kept { routes: RouteSets::new(Vec::new()), pack, state });
        let (records, hasher) = (&self.records, &self.hasher);
        self.names.insert_unique(records.name_hash(id, hasher), id, |id| records.name_hash(*id, hasher));
        if let Some(part) = part {
            self.parts.insert(id, part);
        }
        id
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, id: IngressId) {
        self.unindex(id);
        let hash = self.records.name_hash(id, &self.hasher);
        if let Ok(entry) = self.names.find_entry(hash, |found| *found == id) {
            entry.remove();
        }
        self.parts.remove(&id);
        self.records.remove(id);
    }

    /// Packs what an object contributes.
    pub(super) fn pack(
        &self,
        id: IngressId,
        created: i64,
        routes: Vec<PackedRouteSet>,
        claims: &[NewClaim],
    ) -> Contribution {
        let pack = self.records.head(id).map(|(head, namespace)| {
            let head = Head { created, ..head };
            record::pack(&head, namespace, claims)
        });
        Contribution { routes: RouteSets::new(routes), pack: pack.unwrap_or_default() }
    }

    /// True if this is what the object contributes already.
    pub(super) fn holds(&self, id: IngressId, contribution: &Contribution) -> bool {
        self.records.slots.get(id).is_some_and(|kept| {
            kept.routes == contribution.routes && self.records.packs.get(kept.pack) == contribution.pack
        })
    }

    /// Replaces what an object contributes.
    pub(super) fn set(&mut self, id: IngressId, contribution: Contribution) {
        self.unindex(id);
        if let Some(kept) = self.records.slots.get_mut(id) {
            kept.routes = contribution.routes;
            kept.pack = self.records.packs.replace(kept.pack, &contribution.pack);
        }
        self.index(id);
    }

    pub(super) fn set_in_effect(&mut self, id: IngressId, in_effect: bool) {
        if let Some(kept) = self.records.slots.get_mut(id) {
            kept.state.in_effect = in_effect;
        }
    }

    pub(super) fn set_reported(&mut self, id: IngressId, reported: bool) {
        if let Some(kept) = self.records.slots.get_mut(id) {
            kept.state.reported = reported;
        }
    }

    /// Puts on record what the API server holds of the object's status. True if that is news.
    pub(super) fn set_published(&mut self, id: IngressId, published: Published, marks: Marks) -> bool {
        let Some(kept) = self.records.slots.get_mut(id) else { return false };
        let before = (kept.state.published, kept.state.marks);
        (kept.state.published, kept.state.marks) = (published, marks);
        before != (published, marks)
    }

    /// Who would serve a host, and how, in no particular order.
    pub(super) fn host_claims(&self, host: &str) -> impl Iterator<Item = (Record<'_>, Claim<'_>)> {
        self.claims(host).filter(|(_, claim)| claim.has_routes())
    }

    /// Who binds a server name, and to which Secret, in no particular order.
    pub(super) fn sni_claims(&self, sni: &str) -> impl Iterator<Item = (Record<'_>, Claim<'_>)> {
        self.claims(sni).filter(|(_, claim)| claim.secret().is_some())
    }

    fn claims(&self, host: &str) -> impl Iterator<Item = (Record<'_>, Claim<'_>)> {
        let family = host::family(host);
        let places = self.hosts.iter_hash(self.hasher.hash_one(family));
        let records = places.filter_map(|place| Some((self.records.get(place.id())?, place.at())));
        let claims = records.flat_map(move |(record, at)| {
            // What the table yields may be of another family.
            let of_family = record.family_at(at).take_while(move |claim| host::family(&claim.host()) == family);
            of_family.map(move |claim| (record, claim))
        });
        claims.filter(move |(_, claim)| claim.is_for(host))
    }

    fn index(&mut self, id: IngressId) {
        let (records, hasher) = (&self.records, &self.hasher);
        let hash = |place: &Place| {
            let host = records.get(place.id()).and_then(|record| Some(record.family_at(place.at()).next()?.host()));
            host.map_or(0, |host| hasher.hash_one(host::family(&host)))
        };
        for (at, family) in records.get(id).into_iter().flat_map(Record::families) {
            self.hosts.insert_unique(hasher.hash_one(family.as_str()), Place::new(id, at), hash);
        }
    }

    fn unindex(&mut self, id: IngressId) {
        for (at, family) in self.records.get(id).into_iter().flat_map(Record::families) {
            let (hash, place) = (self.hasher.hash_one(family.as_str()), Place::new(id, at));
            if let Ok(entry) = self.hosts.find_entry(hash, |found| *found == place) {
                entry.remove();
            }
        }
    }
}

impl Records {
    fn get(&self, id: IngressId) -> Option<Record<'_>> {
        let kept = self.slots.get(id)?;
        let pack = self.packs.get(kept.pack);
        let (Head { namespace, created, name }, claims_at) = Head::read(pack)?;
        let namespace = self.namespaces.text(namespace)?;
        let routes = kept.routes.as_slice();
        Some(Record { id, namespace, name, created, routes, state: kept.state, pack, claims_at })
    }

    fn head(&self, id: IngressId) -> Option<(Head<'_>, &str)> {
        let (head, _) = Head::read(self.packs.get(self.slots.get(id)?.pack))?;
        let namespace = self.namespaces.text(head.namespace)?;
        Some((head, namespace))
    }

    fn name_hash(&self, id: IngressId, hasher: &foldhash::fast::RandomState) -> u64 {
        let record = self.get(id);
        record.map_or(0, |record| hasher.hash_one((&**record.namespace, record.name, record.kind())))
    }

    fn remove(&mut self, id: IngressId) {
        let namespace = self.head(id).map(|(head, _)| head.namespace);
        if let Some(kept) = self.slots.remove(id) {
            self.packs.remove(kept.pack);
        }
        if let Some(namespace) = namespace {
            self.namespaces.leave(namespace);
        }
    }
}

impl RouteSets {
    fn new(mut sets: Vec<PackedRouteSet>) -> Self {
        match sets.pop() {
            Some(only) if sets.is_empty() => Self::One(only),
            last => {
                sets.extend(last);
                Self::Other(Box::new(sets.into_boxed_slice()))
            }
        }
    }

    fn as_slice(&self) -> &[PackedRouteSet] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Other(sets) => sets,
        }
    }
}

impl Place {
    fn new(id: IngressId, at: usize) -> Self {
        let at = u32::try_from(at).expect("a record is shorter than 16 MiB").to_le_bytes();
        Self { id: id.to_le_bytes(), at: [at[0], at[1], at[2]] }
    }

    fn id(self) -> IngressId {
        u32::from_le_bytes(self.id)
    }

    fn at(self) -> usize {
        let [low, middle, high] = self.at;
        u32::from_le_bytes([low, middle, high, 0]) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_every_object_is_small() {
        assert_eq!((size_of::<Kept>(), size_of::<Place>()), (48, 7));
    }
}
