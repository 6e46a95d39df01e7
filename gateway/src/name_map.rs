//! A persistent map from names to values, for tables of hundreds of thousands of small entries.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Bits of the hash that choose a child.
const BITS: u32 = 2;
/// Children of an inner node.
const WIDTH: usize = 1 << BITS;
/// A leaf with more entries is split.
const LEAF: usize = 16;
/// Siblings that together have no more entries than this become one leaf again.
const MERGE: usize = LEAF / 2;

/// Names to values. A clone is a reference count, and a changed copy shares with its original all but the path to what
/// changed.
///
/// A hash trie whose leaves are slices of exactly their size. Tries of fixed-size nodes, as general-purpose crates have
/// them, leave half of their slots and more empty, depending on how the number of entries stands to a power of the node
/// size; with entries of 40 to 64 bytes that was more than all the rest of an entry.
pub struct NameMap<V> {
    root: Node<V>,
    len: usize,
    hasher: RandomState,
}

enum Node<V> {
    Leaf(Arc<[Entry<V>]>),
    Inner(Arc<[Node<V>; WIDTH]>),
}

#[derive(Clone)]
struct Entry<V> {
    name: Arc<str>,
    /// Kept, as comparing names would fetch each of them.
    hash: u32,
    value: V,
}

impl<V> NameMap<V> {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hash(name);
        let mut node = &self.root;
        let mut shift = 0;
        loop {
            match node {
                Node::Inner(children) => node = &children[child(hash, shift)],
                Node::Leaf(entries) => {
                    let found = entries.iter().find(|entry| entry.hash == hash && *entry.name == *name);
                    return found.map(|entry| &entry.value);
                }
            }
            shift += BITS;
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no name.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All names with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        let mut pending = vec![&self.root];
        std::iter::from_fn(move || {
            loop {
                match pending.pop()? {
                    Node::Inner(children) => pending.extend(children.iter()),
                    Node::Leaf(entries) => return Some(entries),
                }
            }
        })
        .flat_map(|entries| entries.iter().map(|entry| (&entry.name, &entry.value)))
    }

    fn hash(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        // Both halves are good; one is enough.
        (hash >> 32) as u32
    }
}

impl<V: Clone> NameMap<V> {
    /// Sets the value of a name, and returns the one before.
    pub fn insert(&mut self, name: Arc<str>, value: V) -> Option<V> {
        let hash = self.hash(&name);
        let before = self.root.insert(0, Entry { name, hash, value });
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a name, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let hash = self.hash(name);
        // Looks first: a removal copies the path.
        self.get(name)?;
        let before = self.root.remove(0, hash, name);
        self.len -= usize::from(before.is_some());
        before
    }
}

impl<V: Clone> Node<V> {
    fn insert(&mut self, shift: u32, entry: Entry<V>) -> Option<V> {
        let entries = match self {
            Self::Inner(children) => {
                let at = child(entry.hash, shift);
                return Arc::make_mut(children)[at].insert(shift + BITS, entry);
            }
            Self::Leaf(entries) => entries,
        };
        if let Some(at) = entries.iter().position(|old| old.hash == entry.hash && old.name == entry.name) {
            let before = entries[at].value.clone();
            replace(entries, at, entry);
            return Some(before);
        }
        let grown: Arc<[_]> = entries.iter().cloned().chain(std::iter::once(entry)).collect();
        *self = if grown.len() > LEAF && shift < u32::BITS { split(&grown, shift) } else { Self::Leaf(grown) };
        None
    }

    fn remove(&mut self, shift: u32, hash: u32, name: &str) -> Option<V> {
        let entries = match self {
            Self::Inner(children) => {
                let before = Arc::make_mut(children)[child(hash, shift)].remove(shift + BITS, hash, name);
                if let Some(merged) = merge(children) {
                    *self = merged;
                }
                return before;
            }
            Self::Leaf(entries) => entries,
        };
        let at = entries.iter().position(|entry| entry.hash == hash && *entry.name == *name)?;
        let before = entries[at].value.clone();
        let left = entries.iter().enumerate().filter(|(other, _)| *other != at);
        *entries = left.map(|(_, entry)| entry.clone()).collect();
        Some(before)
    }
}

/// In place, unless somebody else holds the leaf.
fn replace<V: Clone>(entries: &mut Arc<[Entry<V>]>, at: usize, entry: Entry<V>) {
    if let Some(entries) = Arc::get_mut(entries) {
        entries[at] = entry;
        return;
    }
    let mut entry = Some(entry);
    let copy = |(other, old): (usize, &Entry<V>)| match entry.take_if(|_| other == at) {
        Some(new) => new,
        None => old.clone(),
    };
    *entries = entries.iter().enumerate().map(copy).collect();
}

fn split<V: Clone>(entries: &[Entry<V>], shift: u32) -> Node<V> {
    let part = |at: usize| {
        let part: Arc<[_]> = entries.iter().filter(|entry| child(entry.hash, shift) == at).cloned().collect();
        let too_large = part.len() > LEAF && shift + BITS < u32::BITS;
        if too_large { split(&part, shift + BITS) } else { Node::Leaf(part) }
    };
    Node::Inner(Arc::new(std::array::from_fn(part)))
}

fn merge<V: Clone>(children: &[Node<V>; WIDTH]) -> Option<Node<V>> {
    let mut leaves: [&[Entry<V>]; WIDTH] = [&[]; WIDTH];
    for (leaf, node) in leaves.iter_mut().zip(children) {
        let Node::Leaf(entries) = node else { return None };
        *leaf = entries;
    }
    let sum: usize = leaves.iter().map(|leaf| leaf.len()).sum();
    (sum <= MERGE).then(|| Node::Leaf(leaves.into_iter().flatten().cloned().collect()))
}

fn child(hash: u32, shift: u32) -> usize {
    hash.checked_shr(shift).unwrap_or(0) as usize % WIDTH
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Inner(children) => Self::Inner(Arc::clone(children)),
        }
    }
}

impl<V> Clone for NameMap<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len, hasher: self.hasher.clone() }
    }
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self { root: Node::Leaf(Arc::new([])), len: 0, hasher: RandomState::default() }
    }
}

impl<V> fmt::Debug for NameMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameMap").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn name(number: u64) -> Arc<str> {
        Arc::from(format!("svc-{number}.test"))
    }

    fn sorted(map: &NameMap<u64>) -> Vec<(Arc<str>, u64)> {
        let mut all: Vec<_> = map.iter().map(|(name, value)| (Arc::clone(name), *value)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn it_holds_what_a_hash_map_holds_after_any_changes() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut map = NameMap::default();
        let mut model = HashMap::new();
        for step in 0..40_000 {
            let name = name(random.u64(..3_000));
            // Grows first, shrinks in the end.
            if random.u64(..40_000) > step {
                assert_eq!(map.insert(Arc::clone(&name), step), model.insert(name, step));
            } else {
                assert_eq!(map.remove(&name), model.remove(&name));
            }
            assert_eq!(map.len(), model.len());
        }
        let mut expected: Vec<_> = model.into_iter().collect();
        expected.sort_unstable();
        assert_eq!(sorted(&map), expected);
        assert!(expected.iter().all(|(name, value)| map.get(name) == Some(value)));
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut map = NameMap::default();
        for number in 0..1_000 {
            map.insert(name(number), number);
        }
        let before = map.clone();
        for number in 0..1_000 {
            map.insert(name(number), number + 1);
            map.remove(&name(number + 500));
        }
        assert!((0..1_000).all(|number| before.get(&name(number)) == Some(&number)));
    }

    #[test]
    fn an_emptied_map_is_one_leaf_again() {
        let mut map = NameMap::default();
        for number in 0..5_000 {
            map.insert(name(number), number);
        }
        for number in 0..5_000 {
            assert_eq!(map.remove(&name(number)), Some(number));
        }
        assert!(map.is_empty());
        assert!(matches!(&map.root, Node::Leaf(entries) if entries.is_empty()));
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut root = Node::Leaf(Arc::new([]));
        let count = LEAF as u64 * 3;
        for number in 0..count {
            root.insert(0, Entry { name: name(number), hash: 42, value: number });
        }
        for number in 0..count {
            assert_eq!(root.remove(0, 42, &name(number)), Some(number));
        }
    }

    #[test]
    fn an_unknown_name_is_not_found() {
        let mut map = NameMap::default();
        assert_eq!(map.get("a"), None);
        map.insert(name(1), 1);
        assert_eq!(map.get("a"), None);
        assert_eq!(map.remove("a"), None);
    }
}
