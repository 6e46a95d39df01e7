//! Server names to Secrets: complete, cheap, never evicted.

use std::fmt;

use crate::name_map::{Entry, NameMap};
use crate::secret::SecretRef;
use crate::sni::{SniPattern, suffix};

/// The policy lies beside the hash of the name, so that one of a few bytes takes no room.
type Map<P> = NameMap<SecretRef, P>;

/// What a server name is to be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsBinding<P> {
    /// The Secret whose certificate answers.
    pub secret: SecretRef,
    /// What else the gateway wants to know about the name.
    pub policy: P,
}

/// What a server name is bound to: a [`TlsBinding`] in the index.
#[derive(Debug, PartialEq, Eq)]
pub struct Bound<'a, P> {
    /// The Secret whose certificate answers.
    pub secret: &'a SecretRef,
    /// What else the gateway wants to know about the name.
    pub policy: &'a P,
}

/// Server names to [`TlsBinding`]s, about 65 bytes each.
///
/// A persistent map: a clone is two reference counts, and a changed copy shares everything else with its original, so
/// readers keep a consistent view while a writer prepares the next. A lookup allocates nothing. The texts of names and
/// Secrets are shared with whoever passed them in.
pub struct TlsIndex<P> {
    exact: Map<P>,
    /// Keyed by what follows `*.`, so that a lookup needs no text of its own.
    wildcard: Map<P>,
}

impl<P: Clone> TlsIndex<P> {
    /// Binds `pattern`, and returns what it was bound to.
    pub fn insert(&mut self, pattern: SniPattern, binding: TlsBinding<P>) -> Option<TlsBinding<P>> {
        let map = if pattern.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
        let replaced = map.insert(pattern.into_key(), binding.secret, binding.policy);
        replaced.map(|(secret, policy)| TlsBinding { secret, policy })
    }

    /// Unbinds `pattern`, and returns what it was bound to.
    pub fn remove(&mut self, pattern: &SniPattern) -> Option<TlsBinding<P>> {
        let map = if pattern.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
        map.remove(pattern.key()).map(|(secret, policy)| TlsBinding { secret, policy })
    }
}

impl<P> TlsIndex<P> {
    /// The binding that answers for `server_name`, which is lower case and without a trailing dot. An exact name wins
    /// over a wildcard.
    pub fn lookup(&self, server_name: &str) -> Option<Bound<'_, P>> {
        let entry = self.exact.get(server_name).or_else(|| self.wildcard.get(suffix(server_name)?));
        entry.map(Bound::from)
    }

    /// As [`lookup`](Self::lookup), with the pattern that covers the name.
    pub fn resolve(&self, server_name: &str) -> Option<(SniPattern, Bound<'_, P>)> {
        let exact = self.exact.get(server_name).map(|entry| (entry, false));
        let (entry, is_wildcard) = exact.or_else(|| Some((self.wildcard.get(suffix(server_name)?)?, true)))?;
        Some((SniPattern::from_key(&entry.name, is_wildcard), Bound::from(entry)))
    }

    /// All patterns with what they are bound to, in no order: a look at each entry, for those who can take their time.
    pub fn iter(&self) -> impl Iterator<Item = (SniPattern, Bound<'_, P>)> {
        let exact = self.exact.iter().map(|entry| (entry, false));
        let all = exact.chain(self.wildcard.iter().map(|entry| (entry, true)));
        all.map(|(entry, is_wildcard)| (SniPattern::from_key(&entry.name, is_wildcard), Bound::from(entry)))
    }

    /// The binding of exactly this pattern.
    pub fn get(&self, pattern: &SniPattern) -> Option<Bound<'_, P>> {
        let map = if pattern.is_wildcard() { &self.wildcard } else { &self.exact };
        map.get(pattern.key()).map(Bound::from)
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// True when no name is bound.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, P> From<&'a Entry<SecretRef, P>> for Bound<'a, P> {
    fn from(entry: &'a Entry<SecretRef, P>) -> Self {
        Self { secret: &entry.value, policy: &entry.tag }
    }
}

impl<P> Clone for Bound<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Bound<'_, P> {}

impl<P> Clone for TlsIndex<P> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), wildcard: self.wildcard.clone() }
    }
}

impl<P> Default for TlsIndex<P> {
    fn default() -> Self {
        Self { exact: Map::default(), wildcard: Map::default() }
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
    fn the_pattern_that_covers_a_name_is_told_and_all_patterns_are_listed() {
        let mut index = TlsIndex::default();
        index.insert(pattern("*.shop.test"), bind("all"));
        index.insert(pattern("eu.shop.test"), bind("eu"));
        let covering = |name: &str| {
            index.resolve(name).map(|(pattern, bound)| (pattern.to_string(), bound.secret.name.to_string()))
        };
        assert_eq!(covering("eu.shop.test"), Some(("eu.shop.test".to_owned(), "eu".to_owned())));
        assert_eq!(covering("us.shop.test"), Some(("*.shop.test".to_owned(), "all".to_owned())));
        assert_eq!(covering("shop.test"), None);
        let mut all: Vec<_> = index.iter().map(|(pattern, _)| pattern.to_string()).collect();
        all.sort();
        assert_eq!(all, ["*.shop.test", "eu.shop.test"]);
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
