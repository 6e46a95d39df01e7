//! Names to values: a persistent map for tables of hundreds of thousands of small entries.

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
/// changed: readers keep a consistent view while a writer prepares the next. A lookup allocates nothing.
///
/// A hash trie whose leaves are slices of exactly their size, in the order of hashes. Tries of fixed-size nodes, as
/// general-purpose crates have them, leave half of their slots and more empty, depending on how the number of entries stands
/// to a power of the node size; with entries of 32 to 64 bytes that was more than all the rest of an entry. What is kept
/// beside the entries is 6 to 10 bytes for each.
///
/// Each map is seeded anew, unless it is a clone: nobody can choose names whose hashes collide.
pub struct NameMap<V, T = ()> {
    root: Node<V, T>,
    len: usize,
    hasher: RandomState,
}

/// A name with what it stands for.
#[derive(Clone, Debug)]
pub struct Entry<V, T = ()> {
    /// The name.
    pub name: Arc<str>,
    /// What it stands for.
    pub value: V,
    /// More of that, in up to four bytes: they lie beside the hash, where alignment leaves room.
    pub tag: T,
    /// Kept, as comparing names would fetch each of them.
    hash: u32,
}

enum Node<V, T> {
    Leaf(Arc<[Entry<V, T>]>),
    Inner(Arc<[Node<V, T>; WIDTH]>),
}

impl<V, T> NameMap<V, T> {
    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&Entry<V, T>> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hash(name);
        let mut node = &self.root;
        let mut shift = 0;
        loop {
            match node {
                Node::Inner(children) => node = &children[child(hash, shift)],
                Node::Leaf(entries) => return find(entries, hash, name).ok().map(|at| &entries[at]),
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

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry<V, T>> {
        let mut pending = vec![&self.root];
        std::iter::from_fn(move || {
            loop {
                match pending.pop()? {
                    Node::Inner(children) => pending.extend(children.iter()),
                    Node::Leaf(entries) => return Some(entries),
                }
            }
        })
        .flat_map(|entries| entries.iter())
    }

    fn hash(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        // Both halves are good; one is enough.
        (hash >> 32) as u32
    }
}

impl<V: Clone, T: Clone> NameMap<V, T> {
    /// Sets what a name stands for, and returns what it stood for before.
    pub fn insert(&mut self, name: Arc<str>, value: V, tag: T) -> Option<(V, T)> {
        let hash = self.hash(&name);
        let before = self.root.insert(0, Entry { name, value, tag, hash });
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a name, and returns what it stood for.
    pub fn remove(&mut self, name: &str) -> Option<(V, T)> {
        let hash = self.hash(name);
        // Looks first: a removal copies the path.
        self.get(name)?;
        let before = self.root.remove(0, hash, name);
        self.len -= usize::from(before.is_some());
        before
    }
}

impl<V: Clone, T: Clone> Entry<V, T> {
    fn content(&self) -> (V, T) {
        (self.value.clone(), self.tag.clone())
    }
}

impl<V: Clone, T: Clone> Node<V, T> {
    fn insert(&mut self, shift: u32, entry: Entry<V, T>) -> Option<(V, T)> {
        let entries = match self {
            Self::Inner(children) => {
                let at = child(entry.hash, shift);
                return Arc::make_mut(children)[at].insert(shift + BITS, entry);
            }
            Self::Leaf(entries) => entries,
        };
        let at = match find(entries, entry.hash, &entry.name) {
            Ok(at) => {
                let before = entries[at].content();
                replace(entries, at, entry);
                return Some(before);
            }
            Err(at) => at,
        };
        let (less, more) = entries.split_at(at);
        let grown: Arc<[_]> = less.iter().cloned().chain(std::iter::once(entry)).chain(more.iter().cloned()).collect();
        *self = if grown.len() > LEAF && shift < u32::BITS { split(&grown, shift) } else { Self::Leaf(grown) };
        None
    }

    fn remove(&mut self, shift: u32, hash: u32, name: &str) -> Option<(V, T)> {
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
        let at = find(entries, hash, name).ok()?;
        let before = entries[at].content();
        let left = entries.iter().enumerate().filter(|(other, _)| *other != at);
        *entries = left.map(|(_, entry)| entry.clone()).collect();
        Some(before)
    }
}

/// Where a name is in a leaf, or where it belongs.
///
/// A leaf is in the order of hashes, which are spread evenly: the place can be told from the hash, give or take one or two.
/// To look at each entry would fetch all of a leaf: eight lines of memory and more that no processor has cached.
fn find<V, T>(entries: &[Entry<V, T>], hash: u32, name: &str) -> Result<usize, usize> {
    let guess = (u64::from(hash) * entries.len() as u64) >> u32::BITS;
    let mut at = usize::try_from(guess).unwrap_or_default();
    while at > 0 && entries[at - 1].hash >= hash {
        at -= 1;
    }
    while let Some(entry) = entries.get(at).filter(|entry| entry.hash <= hash) {
        if entry.hash == hash && *entry.name == *name {
            return Ok(at);
        }
        at += 1;
    }
    Err(at)
}

/// In place, unless somebody else holds the leaf.
fn replace<V: Clone, T: Clone>(entries: &mut Arc<[Entry<V, T>]>, at: usize, entry: Entry<V, T>) {
    if let Some(entries) = Arc::get_mut(entries) {
        entries[at] = entry;
        return;
    }
    let mut entry = Some(entry);
    let copy = |(other, old): (usize, &Entry<V, T>)| match entry.take_if(|_| other == at) {
        Some(new) => new,
        None => old.clone(),
    };
    *entries = entries.iter().enumerate().map(copy).collect();
}

fn split<V: Clone, T: Clone>(entries: &[Entry<V, T>], shift: u32) -> Node<V, T> {
    let part = |at: usize| {
        let part: Arc<[_]> = entries.iter().filter(|entry| child(entry.hash, shift) == at).cloned().collect();
        let too_large = part.len() > LEAF && shift + BITS < u32::BITS;
        if too_large { split(&part, shift + BITS) } else { Node::Leaf(part) }
    };
    Node::Inner(Arc::new(std::array::from_fn(part)))
}

fn merge<V: Clone, T: Clone>(children: &[Node<V, T>; WIDTH]) -> Option<Node<V, T>> {
    let mut leaves: [&[Entry<V, T>]; WIDTH] = [&[]; WIDTH];
    for (leaf, node) in leaves.iter_mut().zip(children) {
        let Node::Leaf(entries) = node else { return None };
        *leaf = entries;
    }
    let sum: usize = leaves.iter().map(|leaf| leaf.len()).sum();
    (sum <= MERGE).then(|| {
        let mut entries: Vec<_> = leaves.into_iter().flatten().cloned().collect();
        entries.sort_by_key(|entry| entry.hash);
        Node::Leaf(entries.into())
    })
}

fn child(hash: u32, shift: u32) -> usize {
    hash.checked_shr(shift).unwrap_or(0) as usize % WIDTH
}

impl<V, T> Clone for Node<V, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Inner(children) => Self::Inner(Arc::clone(children)),
        }
    }
}

impl<V, T> Clone for NameMap<V, T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len, hasher: self.hasher.clone() }
    }
}

impl<V, T> Default for NameMap<V, T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Arc::new([])), len: 0, hasher: RandomState::default() }
    }
}

impl<V, T> fmt::Debug for NameMap<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameMap").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
