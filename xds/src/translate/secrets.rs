//! Secrets that exist, and who refers to which.

use std::hash::BuildHasher;
use std::num::NonZeroU64;

use hashbrown::HashTable;
use slab::Slab;

use super::pending::Pending;
use super::users::{IngressId, Users};
use crate::object::{ObjectRef, SecretMeta};

/// The slot of a Secret.
pub(super) type SecretId = u32;

/// Every Secret that exists or that something refers to.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    slots: Slab<Secret>,
    index: HashTable<SecretId>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
struct Secret {
    object: ObjectRef,
    /// Fingerprint of the version; `None` while the Secret does not exist.
    version: Option<NonZeroU64>,
    users: Users,
}

impl Secrets {
    /// How many slots and index entries there are.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.slots.len() + self.index.len()
    }

    /// The Secret is there, in this version.
    pub(super) fn apply(&mut self, secret: &SecretMeta, pending: &mut Pending) {
        let id = self.slot(&secret.object);
        let fingerprint = NonZeroU64::new(self.hasher.hash_one(&secret.version)).unwrap_or(NonZeroU64::MAX);
        let entry = &mut self.slots[id as usize];
        pending.touch_secret(&entry.object, entry.version, Some(&secret.version));
        if entry.version.is_none() {
            pending.recheck(entry.users.iter());
        }
        entry.version = Some(fingerprint);
    }

    /// The Secret is gone.
    pub(super) fn remove(&mut self, object: &ObjectRef, pending: &mut Pending) {
        let Some(id) = self.find(object) else { return };
        let entry = &mut self.slots[id as usize];
        pending.touch_secret(&entry.object, entry.version, None);
        pending.recheck(entry.users.iter());
        entry.version = None;
        self.drop_unused(id);
    }

    /// Somebody refers to the Secret from now on.
    pub(super) fn add_user(&mut self, object: &ObjectRef, user: IngressId) -> SecretId {
        let id = self.slot(object);
        self.slots[id as usize].users.insert(user);
        id
    }

    /// Somebody no longer refers to the Secret.
    pub(super) fn remove_user(&mut self, id: SecretId, user: IngressId) {
        if let Some(secret) = self.slots.get_mut(id as usize) {
            secret.users.remove(user);
            self.drop_unused(id);
        }
    }

    /// The reference that is in use for a Secret already.
    pub(super) fn known(&self, namespace: &str, name: &str) -> Option<&ObjectRef> {
        let hash = self.hasher.hash_one((namespace, name));
        let is_it = |id: &SecretId| {
            let object = &self.slots[*id as usize].object;
            *object.name == *name && *object.namespace == *namespace
        };
        Some(self.object(*self.index.find(hash, is_it)?))
    }

    /// The Secret's name.
    pub(super) fn object(&self, id: SecretId) -> &ObjectRef {
        &self.slots[id as usize].object
    }

    /// True if the Secret exists.
    pub(super) fn exists(&self, id: SecretId) -> bool {
        self.slots[id as usize].version.is_some()
    }

    /// Fingerprint of the version that the Secret has now.
    pub(super) fn version(&self, object: &ObjectRef) -> Option<NonZeroU64> {
        self.slots[self.find(object)? as usize].version
    }

    fn find(&self, object: &ObjectRef) -> Option<SecretId> {
        let hash = self.hash(object);
        self.index.find(hash, |id| self.slots[*id as usize].object == *object).copied()
    }

    fn slot(&mut self, object: &ObjectRef) -> SecretId {
        if let Some(id) = self.find(object) {
            return id;
        }
        let secret = Secret { object: object.clone(), version: None, users: Users::default() };
        let id = super::id(self.slots.insert(secret));
        let hash = self.hash(object);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, id, |id| name_hash(hasher, &slots[*id as usize].object));
        id
    }

    fn hash(&self, object: &ObjectRef) -> u64 {
        name_hash(&self.hasher, object)
    }

    fn drop_unused(&mut self, id: SecretId) {
        let secret = &self.slots[id as usize];
        if secret.version.is_some() || !secret.users.is_empty() {
            return;
        }
        let hash = self.hash(&secret.object);
        if let Ok(entry) = self.index.find_entry(hash, |found| *found == id) {
            entry.remove();
        }
        self.slots.remove(id as usize);
    }
}

fn name_hash(hasher: &foldhash::fast::RandomState, object: &ObjectRef) -> u64 {
    hasher.hash_one((&*object.namespace, &*object.name))
}
