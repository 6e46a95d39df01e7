//! Server names to Secrets: complete, cheap, never evicted.

use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;

use crate::secret::SecretRef;
use crate::sni::{SniPattern, suffix};

/// A B+ tree ordered by the hash of the name: its leaves are filled to two thirds or more at any size, so that a name
/// costs about 110 bytes. A hash trie of the same entries takes 119 to 190, as its leaves fill and split.
type Map<P> = OrdMap<Entry<P>, ()>;

/// What a server name is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsBinding<P> {
    /// The Secret whose certificate answers.
    pub secret: SecretRef,
    /// What else the gateway wants to know about the name.
    pub policy: P,
}

/// Server names to [`TlsBinding`]s.
///
/// A persistent map: a clone is two reference counts, and a changed copy shares everything else with its original, so
/// readers keep a consistent view while a writer prepares the next. A lookup allocates nothing. The texts of names and
/// Secrets are shared with whoever passed them in.
pub struct TlsIndex<P> {
    exact: Map<P>,
    /// Keyed by what follows `*.`, so that a lookup needs no text of its own.
    wildcard: Map<P>,
    /// Seeded anew for each index that is not a clone: nobody can choose names whose hashes collide.
    hasher: foldhash::fast::RandomState,
}

impl<P: Clone> TlsIndex<P> {
    /// Binds `pattern`, and returns what it was bound to.
    pub fn insert(&mut self, pattern: SniPattern, binding: TlsBinding<P>) -> Option<TlsBinding<P>> {
        let replaced = self.remove(&pattern);
        let hash = self.hasher.hash_one(&**pattern.key());
        let map = if pattern.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
        map.insert(Entry { hash, bound: Arc::new(Bound { name: pattern.into_key(), binding }) }, ());
        replaced
    }

    /// Unbinds `pattern`, and returns what it was bound to.
    pub fn remove(&mut self, pattern: &SniPattern) -> Option<TlsBinding<P>> {
        let asked = Asked { hash: self.hasher.hash_one(&**pattern.key()), name: pattern.key() };
        let map = if pattern.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
        let (entry, ()) = map.remove_with_key(&asked)?;
        Some(Arc::unwrap_or_clone(entry.bound).binding)
    }
}

impl<P> TlsIndex<P> {
    /// The binding that answers for `server_name`, which is lower case and without a trailing dot. An exact name wins
    /// over a wildcard.
    pub fn lookup(&self, server_name: &str) -> Option<&TlsBinding<P>> {
        self.find(&self.exact, server_name).or_else(|| self.find(&self.wildcard, suffix(server_name)?))
    }

    /// The binding of exactly this pattern.
    pub fn get(&self, pattern: &SniPattern) -> Option<&TlsBinding<P>> {
        self.find(if pattern.is_wildcard() { &self.wildcard } else { &self.exact }, pattern.key())
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// True when no name is bound.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find<'a>(&self, map: &'a Map<P>, name: &str) -> Option<&'a TlsBinding<P>> {
        let asked = Asked { hash: self.hasher.hash_one(name), name };
        map.get_key_value(&asked).map(|(entry, ())| &entry.bound.binding)
    }
}

/// A name with its binding, in the order of its hash. Being one pointer and the hash, it leaves little room unused in
/// the tree, and comparing two seldom touches their texts.
struct Entry<P> {
    hash: u64,
    bound: Arc<Bound<P>>,
}

#[derive(Clone)]
struct Bound<P> {
    name: Arc<str>,
    binding: TlsBinding<P>,
}

/// What an entry is found by.
struct Asked<'a> {
    hash: u64,
    name: &'a str,
}

impl<P> Entry<P> {
    fn key(&self) -> Asked<'_> {
        Asked { hash: self.hash, name: &self.bound.name }
    }
}

impl Asked<'_> {
    fn order(&self, other: &Asked<'_>) -> Ordering {
        self.hash.cmp(&other.hash).then_with(|| self.name.cmp(other.name))
    }
}

impl<P> Equivalent<Entry<P>> for Asked<'_> {
    fn equivalent(&self, entry: &Entry<P>) -> bool {
        self.order(&entry.key()).is_eq()
    }
}

impl<P> Comparable<Entry<P>> for Asked<'_> {
    fn compare(&self, entry: &Entry<P>) -> Ordering {
        self.order(&entry.key())
    }
}

impl<P> Clone for Entry<P> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, bound: Arc::clone(&self.bound) }
    }
}

impl<P> PartialEq for Entry<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P> Eq for Entry<P> {}

impl<P> PartialOrd for Entry<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Entry<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().order(&other.key())
    }
}

impl<P> Clone for TlsIndex<P> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), wildcard: self.wildcard.clone(), hasher: self.hasher.clone() }
    }
}

impl<P> Default for TlsIndex<P> {
    fn default() -> Self {
        Self { exact: Map::default(), wildcard: Map::default(), hasher: foldhash::fast::RandomState::default() }
    }
}

impl<P> fmt::Debug for TlsIndex<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIndex")
            .field("exact", &self.exact.len())
            .field("wildcard", &self.wildcard.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> SniPattern {
        SniPattern::try_from(text).unwrap()
    }

    fn bind(name: &str) -> TlsBinding<()> {
        TlsBinding { secret: SecretRef::new("shop", name), policy: () }
    }

    fn bound(index: &TlsIndex<()>, server_name: &str) -> Option<String> {
        index.lookup(server_name).map(|binding| binding.secret.name.to_string())
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard() {
        let mut index = TlsIndex::default();
        index.insert(pattern("*.shop.test"), bind("all"));
        index.insert(pattern("eu.shop.test"), bind("eu"));
        assert_eq!(bound(&index, "eu.shop.test").as_deref(), Some("eu"));
        assert_eq!(bound(&index, "us.shop.test").as_deref(), Some("all"));
    }

    #[test]
    fn a_wildcard_and_a_name_with_the_same_text_are_two_entries() {
        let mut index = TlsIndex::default();
        index.insert(pattern("*.shop.test"), bind("all"));
        assert_eq!(bound(&index, "shop.test"), None);
        index.insert(pattern("shop.test"), bind("bare"));
        assert_eq!(index.len(), 2);
        index.remove(&pattern("shop.test"));
        assert_eq!(bound(&index, "us.shop.test").as_deref(), Some("all"));
    }

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut index = TlsIndex::default();
        index.insert(pattern("shop.test"), bind("old"));
        let before = index.clone();
        let replaced = index.insert(pattern("shop.test"), bind("new"));
        assert_eq!(replaced, Some(bind("old")));
        assert_eq!(bound(&before, "shop.test").as_deref(), Some("old"));
        assert_eq!(bound(&index, "shop.test").as_deref(), Some("new"));
    }

    #[test]
    fn names_whose_hashes_are_equal_are_told_apart() {
        let [one, other] = ["a.test", "b.test"].map(|name| Asked { hash: 7, name });
        assert_eq!(one.order(&other), Ordering::Less);
        assert_eq!(other.order(&one), Ordering::Greater);
        assert_eq!(one.order(&Asked { hash: 7, name: "a.test" }), Ordering::Equal);
    }

    #[test]
    fn ten_thousand_names_are_found_and_then_removed() {
        let mut index = TlsIndex::default();
        let names: Vec<String> = (0..10_000).map(|number| format!("s{number}.shop.test")).collect();
        for name in &names {
            index.insert(pattern(name), bind(name));
        }
        for name in &names {
            assert_eq!(bound(&index, name).as_ref(), Some(name));
        }
        for name in &names {
            assert_eq!(index.remove(&pattern(name)), Some(bind(name)));
        }
        assert!(index.is_empty());
    }

    #[test]
    fn a_name_that_nobody_bound_is_not_found() {
        let index: TlsIndex<()> = TlsIndex::default();
        for name in ["", ".", "test", "a.test", "..", "a.b.c.d"] {
            assert_eq!(index.lookup(name), None, "{name:?}");
        }
        assert!(index.is_empty());
    }
}
