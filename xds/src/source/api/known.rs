//! Which objects of a kind exist: names alone, packed.
//!
//! A complete list says what exists; what is known and not in it has been deleted, and its name must then be told. So
//! names have to be kept, and nothing more is: a record is 6 bytes and the name, its place in the table 4 bytes and one
//! of control. With names of 30 bytes that is some 45 bytes an object, an eighth of what a set of two `Strings` takes.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use crate::object::ObjectRef;

/// Bytes before the name: the namespace (4, of which the top bit is the mark) and the name's length (2).
const HEADER: usize = 6;

/// Set in a record that the present list has named.
const MARK: u32 = 1 << 31;

/// Names of objects. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Known {
    records: Vec<u8>,
    /// Where in [`Known::records`] each one begins.
    index: HashTable<u32>,
    namespaces: Namespaces,
    /// Bytes of records that are no longer in the index.
    garbage: usize,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug, Default)]
struct Namespaces {
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    names: Vec<Arc<str>>,
}

impl Known {
    /// The object exists. A name that is longer than any name can be is not kept.
    pub(super) fn insert(&mut self, object: &ObjectRef) {
        let Ok(length) = u16::try_from(object.name.len()) else { return };
        let namespace = self.namespaces.number(&object.namespace);
        let hash = self.hash(namespace, object.name.as_bytes());
        if let Some(at) = self.find(hash, namespace, &object.name) {
            self.write_namespace(at, namespace | MARK);
            return;
        }
        let at = self.append(namespace | MARK, length, &object.name);
        let (records, hasher) = (&self.records, &self.hasher);
        self.index.insert_unique(hash, at, |at| hash_record(hasher, records, *at));
    }

    /// The object does not exist. Returns whether it did.
    pub(super) fn remove(&mut self, object: &ObjectRef) -> bool {
        let namespace = self.namespaces.number(&object.namespace);
        let hash = self.hash(namespace, object.name.as_bytes());
        let records = &self.records;
        let found = self.index.find_entry(hash, |at| record(records, *at) == (namespace, object.name.as_bytes()));
        let Ok(entry) = found else { return false };
        entry.remove();
        self.garbage += HEADER + object.name.len();
        self.compact();
        true
    }

    /// A complete list begins: from now on it is noted what is named.
    pub(super) fn begin(&mut self) {
        for &at in &self.index {
            let namespace = read_namespace(&self.records, at) & !MARK;
            self.records[at as usize..at as usize + 4].copy_from_slice(&namespace.to_le_bytes());
        }
    }

    /// The list is complete: forgets what has not been named since [`Known::begin`] and returns it.
    pub(super) fn sweep(&mut self) -> Vec<ObjectRef> {
        let (records, namespaces) = (&self.records, &self.namespaces);
        let (mut gone, mut garbage) = (Vec::new(), 0);
        self.index.retain(|at| {
            let named = read_namespace(records, *at) & MARK != 0;
            if !named {
                let (namespace, name) = record(records, *at);
                garbage += HEADER + name.len();
                let name = String::from_utf8_lossy(name);
                gone.push(ObjectRef { namespace: namespaces.name(namespace), name: name.as_ref().into() });
            }
            named
        });
        self.garbage += garbage;
        self.compact();
        gone
    }

    /// How many exist.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes on the heap.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.records.capacity() + self.index.allocation_size()
    }

    fn hash(&self, namespace: u32, name: &[u8]) -> u64 {
        hash(&self.hasher, namespace, name)
    }

    fn find(&self, hash: u64, namespace: u32, name: &str) -> Option<u32> {
        self.index.find(hash, |at| record(&self.records, *at) == (namespace, name.as_bytes())).copied()
    }

    fn append(&mut self, namespace: u32, length: u16, name: &str) -> u32 {
        let needed = HEADER + name.len();
        if self.records.capacity() - self.records.len() < needed {
            // By a quarter: doubling would leave half of the largest set empty.
            self.records.reserve_exact(needed.max(self.records.len() / 4));
        }
        let at = u32::try_from(self.records.len()).expect("the names of all objects are less than 4 GiB");
        self.records.extend_from_slice(&namespace.to_le_bytes());
        self.records.extend_from_slice(&length.to_le_bytes());
        self.records.extend_from_slice(name.as_bytes());
        at
    }

    fn write_namespace(&mut self, at: u32, namespace: u32) {
        self.records[at as usize..at as usize + 4].copy_from_slice(&namespace.to_le_bytes());
    }

    /// Packs the records again when half of them is garbage.
    fn compact(&mut self) {
        if self.garbage * 2 <= self.records.len() || self.records.len() < 4096 {
            return;
        }
        let packed = Vec::with_capacity(self.records.len() - self.garbage);
        let old = std::mem::replace(&mut self.records, packed);
        for at in &mut self.index {
            let begin = *at as usize;
            let end = begin + HEADER + record(&old, *at).1.len();
            *at = u32::try_from(self.records.len()).expect("it shrinks");
            self.records.extend_from_slice(&old[begin..end]);
        }
        self.garbage = 0;
    }
}

impl Namespaces {
    fn number(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^31 namespaces");
        self.names.push(Arc::clone(name));
        self.numbers.insert(Arc::clone(name), number);
        number
    }

    fn name(&self, number: u32) -> Arc<str> {
        Arc::clone(&self.names[number as usize])
    }
}

/// The namespace, without its mark, and the name.
fn record(records: &[u8], at: u32) -> (u32, &[u8]) {
    let begin = at as usize;
    let length = u16::from_le_bytes([records[begin + 4], records[begin + 5]]);
    let name = begin + HEADER;
    (read_namespace(records, at) & !MARK, &records[name..name + usize::from(length)])
}

fn read_namespace(records: &[u8], at: u32) -> u32 {
    let at = at as usize;
    u32::from_le_bytes([records[at], records[at + 1], records[at + 2], records[at + 3]])
}

fn hash_record(hasher: &foldhash::fast::RandomState, records: &[u8], at: u32) -> u64 {
    let (namespace, name) = record(records, at);
    hash(hasher, namespace, name)
}

fn hash(hasher: &foldhash::fast::RandomState, namespace: u32, name: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    namespace.hash(&mut state);
    name.hash(&mut state);
    state.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_a_list_does_not_name_is_swept() {
        let mut known = Known::default();
        for name in ["a", "b", "c"] {
            known.insert(&ObjectRef::new("shop", name));
        }
        known.insert(&ObjectRef::new("news", "b"));
        known.begin();
        known.insert(&ObjectRef::new("shop", "b"));
        known.insert(&ObjectRef::new("shop", "d"));
        let gone: BTreeSet<_> = known.sweep().iter().map(ToString::to_string).collect();
        assert_eq!(gone, ["news/b", "shop/a", "shop/c"].map(str::to_owned).into());
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn a_list_that_breaks_off_marks_nothing_for_the_next() {
        let mut known = Known::default();
        known.insert(&ObjectRef::new("shop", "a"));
        known.begin();
        known.insert(&ObjectRef::new("shop", "a"));
        known.begin();
        assert_eq!(known.sweep(), [ObjectRef::new("shop", "a")]);
    }

    #[test]
    fn it_agrees_with_a_set_through_random_changes() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut known, mut model) = (Known::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let object = ObjectRef::new(format!("n{}", random.u8(..4)), format!("object-{}", random.u16(..700)));
            match random.u8(..20) {
                0..9 => {
                    known.insert(&object);
                    model.insert(object);
                }
                9..19 => assert_eq!(known.remove(&object), model.remove(&object)),
                _ => {
                    known.begin();
                    let (kept, gone) = model.into_iter().partition::<BTreeSet<_>, _>(|_| random.bool());
                    for object in &kept {
                        known.insert(object);
                    }
                    assert_eq!(known.sweep().into_iter().collect::<BTreeSet<_>>(), gone);
                    model = kept;
                }
            }
            assert_eq!(known.len(), model.len());
        }
        assert!(known.records.len() < 100_000, "garbage is collected: {}", known.records.len());
    }

    #[test]
    fn an_object_takes_less_than_60_bytes() {
        let mut known = Known::default();
        for number in 0..100_000 {
            known.insert(&ObjectRef::new(
                format!("team-{}", number % 500),
                format!("service-{number:08}-private-x7k2q"),
            ));
        }
        let each = known.bytes() / 100_000;
        assert!(each < 60, "{each} bytes an object");
    }
}
