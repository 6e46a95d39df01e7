//! Which Secrets have a copy, where, and which copy goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use aws_lc_rs::rand;

use super::figures::Figures;
use crate::secret::SecretRef;

/// Where a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its file's random name.
    pub(super) file: u128,
    /// A hash of the Secret's version, where it has one.
    version: Option<u64>,
    /// The Secret has changed since.
    pub(super) is_stale: bool,
}

impl Place {
    /// A new one for this version; nothing, if there is no randomness.
    pub(super) fn random(version: Option<&str>) -> Option<Self> {
        let mut file = [0; 16];
        rand::fill(&mut file).ok()?;
        Some(Self { file: u128::from_le_bytes(file), version: version.map(hash), is_stale: false })
    }
}

fn hash(version: &str) -> u64 {
    foldhash::quality::FixedState::default().hash_one(version)
}

#[derive(Debug)]
struct Slot {
    place: Place,
    bytes: u64,
    used: u64,
}

/// The copies there are. Whatever leaves it is to be deleted by who owns the disk, before anything more is written.
#[derive(Debug)]
pub(super) struct Shelf {
    slots: HashMap<SecretRef, Slot, foldhash::fast::RandomState>,
    /// By last use.
    order: BTreeMap<u64, SecretRef>,
    uses: u64,
    bytes: u64,
    limit: u64,
    doomed: Vec<u128>,
    figures: Arc<Figures>,
}

impl Shelf {
    pub(super) fn new(limit: u64, figures: Arc<Figures>) -> Self {
        figures.limit.set(limit as f64);
        let shelf = Self {
            slots: HashMap::default(),
            order: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            limit,
            doomed: Vec::new(),
            figures,
        };
        shelf.show();
        shelf
    }

    pub(super) fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<Place> {
        self.slots.get(secret).map(|slot| slot.place)
    }

    /// Enters a copy of no more bytes than the limit, where another one may have been; makes room for it.
    pub(super) fn put(&mut self, secret: &SecretRef, place: Place, bytes: u64) {
        self.take(secret);
        while self.bytes + bytes > self.limit {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.take(&oldest);
            self.figures.evictions.increment(1);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, secret.clone());
        self.slots.insert(secret.clone(), Slot { place, bytes, used: self.uses });
        self.show();
    }

    /// Returns whether there was one.
    pub(super) fn remove(&mut self, secret: &SecretRef) -> bool {
        let there = self.take(secret);
        self.show();
        there
    }

    /// The copy in this file is of no use.
    pub(super) fn forget(&mut self, secret: &SecretRef, file: u128) {
        if self.get(secret).is_some_and(|place| place.file == file) {
            self.remove(secret);
        }
    }

    /// Notes that a copy is used, and returns where it is.
    pub(super) fn touch(&mut self, secret: &SecretRef) -> Option<Place> {
        let slot = self.slots.get_mut(secret)?;
        self.uses += 1;
        self.order.remove(&slot.used);
        slot.used = self.uses;
        self.order.insert(self.uses, secret.clone());
        Some(slot.place)
    }

    /// The Secret is at this version now.
    pub(super) fn changed(&mut self, secret: &SecretRef, version: &str) {
        if let Some(slot) = self.slots.get_mut(secret) {
            slot.place.is_stale = slot.place.version != Some(hash(version));
        }
    }

    /// The files that are to be deleted.
    pub(super) fn doomed(&mut self) -> Vec<u128> {
        std::mem::take(&mut self.doomed)
    }

    fn take(&mut self, secret: &SecretRef) -> bool {
        let Some(slot) = self.slots.remove(secret) else { return false };
        self.order.remove(&slot.used);
        self.bytes -= slot.bytes;
        self.doomed.push(slot.place.file);
        true
    }

    fn show(&self) {
        self.figures.entries.set(self.slots.len() as f64);
        self.figures.bytes.set(self.bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: u64) -> SecretRef {
        SecretRef::new("shop", number.to_string())
    }

    fn place(version: &str) -> Place {
        Place::random(Some(version)).unwrap()
    }

    fn shelf(limit: u64, secrets: u64) -> Shelf {
        let mut shelf = Shelf::new(limit, Figures::register());
        (0..secrets).for_each(|number| shelf.put(&secret(number), place("1"), 10));
        shelf
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut shelf = shelf(30, 3);
        shelf.touch(&secret(0));
        shelf.put(&secret(3), place("1"), 15);
        let there: Vec<_> = (0..4).filter(|number| shelf.get(&secret(*number)).is_some()).collect();
        assert_eq!((there, shelf.bytes(), shelf.doomed().len()), (vec![0, 3], 25, 2));
    }

    #[test]
    fn a_newer_copy_dooms_the_older_ones_file() {
        let mut shelf = shelf(30, 1);
        let old = shelf.get(&secret(0)).unwrap().file;
        shelf.put(&secret(0), place("2"), 12);
        assert_eq!((shelf.len(), shelf.bytes(), shelf.doomed()), (1, 12, vec![old]));
        shelf.forget(&secret(0), old);
        assert_eq!(shelf.len(), 1, "that was the old file");
    }

    #[test]
    fn a_copy_is_stale_once_its_secret_has_another_version() {
        let mut shelf = shelf(30, 1);
        shelf.changed(&secret(0), "1");
        assert!(!shelf.get(&secret(0)).unwrap().is_stale);
        shelf.changed(&secret(0), "2");
        assert!(shelf.get(&secret(0)).unwrap().is_stale);
    }
}
