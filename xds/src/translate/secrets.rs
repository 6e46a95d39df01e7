//! Secrets that exist, and who refers to which.

use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use super::pending::Pending;
use super::users::{Crowds, IngressId, Users};
use crate::object::{ObjectRef, Refusal, SecretMeta};
use crate::source::api::SecretRoster;
use crate::store::{NamespaceId, Namespaces, Slots};

/// The number of a Secret.
pub(super) type SecretId = u32;

/// Every Secret that exists or that something refers to.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    slots: Slots<Secret>,
    index: HashTable<SecretId>,
    namespaces: Namespaces,
    crowds: Crowds,
    hasher: foldhash::fast::RandomState,
    /// Says which Secrets exist, where they are not all told.
    roster: Option<Arc<SecretRoster>>,
    /// Secrets that cannot be served, and why.
    refused: HashMap<SecretId, Refusal, foldhash::fast::RandomState>,
}

/// 32 bytes.
#[derive(Debug)]
struct Secret {
    /// Shared with whoever applies Updates.
    name: Arc<str>,
    /// Fingerprint of the version; `None` while the Secret does not exist.
    version: Option<NonZeroU64>,
    namespace: NamespaceId,
    users: Users,
}

impl Secrets {
    /// How many Secrets, index entries and what goes with them there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.slots.len() + self.index.len() + self.namespaces.len() + self.crowds.len() + self.refused.len()
    }

    /// From now on, only Secrets are told that somebody refers to, and the roster says which of these exist.
    pub(super) fn set_roster(&mut self, roster: Arc<SecretRoster>) {
        self.roster = Some(roster);
    }

    /// The Secret is there, in this version.
    pub(super) fn apply(&mut self, secret: &SecretMeta, pending: &mut Pending) {
        match &self.roster {
            Some(_) => self.look_up(&secret.object, pending),
            None => self.set(&secret.object, &secret.version, pending),
        }
    }

    /// The Secret is gone.
    pub(super) fn remove(&mut self, object: &ObjectRef, pending: &mut Pending) {
        match &self.roster {
            Some(_) => self.look_up(object, pending),
            None => self.unset(object, pending),
        }
    }

    /// Somebody refers to the Secret from now on.
    pub(super) fn add_user(&mut self, object: &ObjectRef, user: IngressId, pending: &mut Pending) -> SecretId {
        let id = self.slot(object);
        let Some(secret) = self.slots.get_mut(id) else { return id };
        let is_first = secret.users.is_empty();
        secret.users = self.crowds.insert(secret.users, user);
        if let Some(roster) = self.roster.as_ref().filter(|_| is_first)
            && let Some(version) = roster.follow(object)
        {
            self.set(object, &version, pending);
        }
        id
    }

    /// Somebody no longer refers to the Secret.
    pub(super) fn remove_user(&mut self, id: SecretId, user: IngressId, pending: &mut Pending) {
        let object = self.object(id);
        let Some(secret) = self.slots.get_mut(id) else { return };
        secret.users = self.crowds.remove(secret.users, user);
        if let Some(roster) = self.roster.as_ref().filter(|_| secret.users.is_empty()) {
            roster.leave(&object);
            // Of what is not told any more, nothing is kept.
            if !roster.keeps(&object) {
                self.unset(&object, pending);
            }
        }
        self.drop_unused(id);
    }

    /// Says that the Secret cannot be served, or that it can.
    pub(super) fn refuse(&mut self, object: &ObjectRef, refusal: Option<&Refusal>, pending: &mut Pending) {
        let Some(id) = self.find(object) else { return };
        let before = match refusal {
            Some(refusal) => self.refused.insert(id, refusal.clone()),
            None => self.refused.remove(&id),
        };
        if before.as_ref() != refusal {
            let users = self.slots.get(id).map_or(Users::NONE, |secret| secret.users);
            pending.recheck(self.crowds.iter(users));
        }
    }

    /// Why the Secret cannot be served, if it can't.
    pub(super) fn refusal(&self, id: SecretId) -> Option<&Refusal> {
        self.refused.get(&id)
    }

    /// Asks the roster what the Secret is like now: an event may have waited while nobody referred to it.
    fn look_up(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(roster) = &self.roster else { return };
        let has_users =
            self.find(object).and_then(|id| self.slots.get(id)).is_some_and(|secret| !secret.users.is_empty());
        if !has_users && !roster.keeps(object) {
            return;
        }
        match roster.version(object) {
            Some(version) => self.set(object, &version, pending),
            // What is kept may have been loaded before its first change.
            None if !has_users => pending.touch_secret(object, Some(NonZeroU64::MAX), None),
            None => self.unset(object, pending),
        }
    }

    fn set(&mut self, object: &ObjectRef, version: &Arc<str>, pending: &mut Pending) {
        let id = self.slot(object);
        let object = self.object(id);
        let fingerprint = NonZeroU64::new(self.hasher.hash_one(version)).unwrap_or(NonZeroU64::MAX);
        let Some(entry) = self.slots.get_mut(id) else { return };
        pending.touch_secret(&object, entry.version, Some(version));
        if entry.version.is_none() {
            pending.recheck(self.crowds.iter(entry.users));
        }
        entry.version = Some(fingerprint);
    }

    fn unset(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(id) = self.find(object) else { return };
        let object = self.object(id);
        let Some(entry) = self.slots.get_mut(id) else { return };
        pending.touch_secret(&object, entry.version, None);
        pending.recheck(self.crowds.iter(entry.users));
        entry.version = None;
        self.drop_unused(id);
    }

    /// The Secret's name; an empty one if there is no such Secret.
    pub(super) fn object(&self, id: SecretId) -> ObjectRef {
        let names = self.slots.get(id).and_then(|secret| {
            let namespace = self.namespaces.text(secret.namespace)?;
            Some(ObjectRef { namespace: Arc::clone(namespace), name: Arc::clone(&secret.name) })
        });
        names.unwrap_or_else(|| ObjectRef::new("", ""))
    }

    /// True if the Secret exists.
    pub(super) fn exists(&self, id: SecretId) -> bool {
        self.slots.get(id).is_some_and(|secret| secret.version.is_some())
    }

    /// Fingerprint of the version that the Secret has now.
    pub(super) fn version(&self, object: &ObjectRef) -> Option<NonZeroU64> {
        self.slots.get(self.find(object)?)?.version
    }

    fn find(&self, object: &ObjectRef) -> Option<SecretId> {
        let namespace = self.namespaces.find(&object.namespace)?;
        let is_it = |id: &SecretId| {
            self.slots.get(*id).is_some_and(|secret| secret.namespace == namespace && secret.name == object.name)
        };
        self.index.find(self.hasher.hash_one((namespace, &*object.name)), is_it).copied()
    }

    fn slot(&mut self, object: &ObjectRef) -> SecretId {
        if let Some(id) = self.find(object) {
            return id;
        }
        let namespace = self.namespaces.enter(&object.namespace);
        let name = Arc::clone(&object.name);
        let id = self.slots.insert(Secret { name, version: None, namespace, users: Users::NONE });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash(slots, id, hasher), id, |id| hash(slots, *id, hasher));
        id
    }

    fn drop_unused(&mut self, id: SecretId) {
        let is_used = |secret: &Secret| secret.version.is_some() || !secret.users.is_empty();
        if self.slots.get(id).is_none_or(is_used) {
            return;
        }
        if let Ok(entry) = self.index.find_entry(hash(&self.slots, id, &self.hasher), |found| *found == id) {
            entry.remove();
        }
        self.refused.remove(&id);
        if let Some(gone) = self.slots.remove(id) {
            self.namespaces.leave(gone.namespace);
        }
    }
}

fn hash(slots: &Slots<Secret>, id: SecretId, hasher: &foldhash::fast::RandomState) -> u64 {
    slots.get(id).map_or(0, |secret| hasher.hash_one((secret.namespace, &*secret.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_takes_32_bytes_besides_its_name() {
        assert_eq!(size_of::<Secret>(), 32);
    }
}
