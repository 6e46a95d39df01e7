//! The table of hosts: exact names, wildcards by their suffix, and the host `*`.

use std::sync::Arc;

use xds::resource::{HostPattern, Visibility, WildcardDepth};

use crate::listener::ListenerName;
use crate::name_map::NameMap;

use super::Routes;

/// What one host pattern stands for.
#[derive(Clone, Debug)]
pub struct HostEntry {
    /// The routes; hosts of one rule share them.
    pub routes: Arc<Routes>,
    /// From where the host may be reached.
    pub visibility: Visibility,
    /// For wildcards: how many labels the `*` stands for.
    pub depth: WildcardDepth,
    /// Plain-text requests on external listeners are answered with 301 to https.
    pub redirect_to_https: bool,
}

/// Host patterns to routes: a persistent map, so that a clone is cheap and a change costs O(log n).
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: NameMap<HostEntry>,
    /// Wildcards by what follows `*.`.
    wildcards: NameMap<HostEntry>,
    any: Option<HostEntry>,
}

/// The three kinds of [`HostPattern`].
enum Kind<'a> {
    Exact,
    Wildcard(&'a str),
    Any,
}

fn kind(pattern: &HostPattern) -> Kind<'_> {
    let text = pattern.as_str();
    if text == HostPattern::ANY {
        return Kind::Any;
    }
    text.strip_prefix("*.").map_or(Kind::Exact, Kind::Wildcard)
}

impl RouteTable {
    /// Adds or replaces the entry of a pattern and hands back the one before.
    pub fn insert(&mut self, pattern: &HostPattern, entry: HostEntry) -> Option<HostEntry> {
        match kind(pattern) {
            Kind::Exact => self.exact.insert(Arc::clone(pattern.shared()), entry),
            Kind::Wildcard(suffix) => self.wildcards.insert(Arc::from(suffix), entry),
            Kind::Any => self.any.replace(entry),
        }
    }

    /// Removes the entry of a pattern.
    pub fn remove(&mut self, pattern: &HostPattern) -> Option<HostEntry> {
        match kind(pattern) {
            Kind::Exact => self.exact.remove(pattern.as_str()),
            Kind::Wildcard(suffix) => self.wildcards.remove(suffix),
            Kind::Any => self.any.take(),
        }
    }

    /// The entry of exactly this pattern.
    pub fn entry(&self, pattern: &HostPattern) -> Option<&HostEntry> {
        match kind(pattern) {
            Kind::Exact => self.exact.get(pattern.as_str()),
            Kind::Wildcard(suffix) => self.wildcards.get(suffix),
            Kind::Any => self.any.as_ref(),
        }
    }

    /// The entry that answers for a host on a listener: exact, then the longest wildcard, then `*`.
    ///
    /// The host is as [`super::host::fold`] leaves it. Entries which the listener does not serve are passed over, as
    /// if they were not there.
    pub fn lookup(&self, host: &str, listener: ListenerName) -> Option<&HostEntry> {
        let served = |entry: &&HostEntry| listener.serves(entry.visibility);
        self.exact
            .get(host)
            .filter(served)
            .or_else(|| self.lookup_wildcard(host, listener))
            .or_else(|| self.any.as_ref().filter(served))
    }

    fn lookup_wildcard(&self, host: &str, listener: ListenerName) -> Option<&HostEntry> {
        if self.wildcards.is_empty() {
            return None;
        }
        let mut rest = host;
        let mut labels = 0;
        while let Some((first, suffix)) = rest.split_once('.') {
            if first.is_empty() && labels == 0 {
                return None;
            }
            labels += 1;
            rest = suffix;
            let found = self.wildcards.get(suffix).filter(|entry| listener.serves(entry.visibility));
            if let Some(entry) = found.filter(|entry| labels == 1 || entry.depth == WildcardDepth::Any) {
                return Some(entry);
            }
        }
        None
    }

    /// How many host patterns there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcards.len() + usize::from(self.any.is_some())
    }

    /// True when there is no host pattern.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All patterns with their entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (String, &HostEntry)> {
        let exact = self.exact.iter().map(|(host, entry)| (host.to_string(), entry));
        let wildcards = self.wildcards.iter().map(|(suffix, entry)| (format!("*.{suffix}"), entry));
        let any = self.any.iter().map(|entry| (HostPattern::ANY.to_owned(), entry));
        exact.chain(wildcards).chain(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::new(Arc::from(text))
    }

    fn entry(visibility: Visibility, depth: WildcardDepth) -> HostEntry {
        HostEntry { routes: Arc::default(), visibility, depth, redirect_to_https: false }
    }

    fn table(hosts: &[(&str, Visibility, WildcardDepth)]) -> RouteTable {
        let mut table = RouteTable::default();
        for (host, visibility, depth) in hosts {
            table.insert(&pattern(host), entry(*visibility, *depth));
        }
        table
    }

    fn found(table: &RouteTable, host: &str, listener: ListenerName) -> Option<String> {
        let routes = &table.lookup(host, listener)?.routes;
        table.iter().find(|(_, entry)| Arc::ptr_eq(&entry.routes, routes)).map(|(pattern, _)| pattern)
    }

    #[test]
    fn exact_hosts_win_over_wildcards_and_the_longest_wildcard_over_shorter_ones() {
        use Visibility::External;
        use WildcardDepth::Any;
        let table = table(&[
            ("shop.test", External, Any),
            ("*.test", External, Any),
            ("*.shop.test", External, Any),
            ("*", External, Any),
        ]);
        for (host, expected) in [
            ("shop.test", "shop.test"),
            ("eu.shop.test", "*.shop.test"),
            ("a.eu.shop.test", "*.shop.test"),
            ("other.test", "*.test"),
            ("test", "*"),
            ("elsewhere", "*"),
            (".test", "*"),
        ] {
            assert_eq!(found(&table, host, ListenerName::ExternalHttp).as_deref(), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_one_label_wildcard_stands_for_one_label_only() {
        let table = table(&[("*.shop.test", Visibility::External, WildcardDepth::One)]);
        assert!(table.lookup("eu.shop.test", ListenerName::ExternalHttp).is_some());
        assert!(table.lookup("a.eu.shop.test", ListenerName::ExternalHttp).is_none());
        assert!(table.lookup("shop.test", ListenerName::ExternalHttp).is_none());
    }

    #[test]
    fn a_cluster_local_host_is_passed_over_on_external_listeners() {
        let table = table(&[
            ("shop.ns.svc", Visibility::ClusterLocal, WildcardDepth::One),
            ("*", Visibility::External, WildcardDepth::One),
        ]);
        assert_eq!(found(&table, "shop.ns.svc", ListenerName::InternalHttp).as_deref(), Some("shop.ns.svc"));
        assert_eq!(found(&table, "shop.ns.svc", ListenerName::ExternalHttp).as_deref(), Some("*"));
    }

    #[test]
    fn a_removed_pattern_is_gone_and_a_clone_keeps_it() {
        let mut table = table(&[("shop.test", Visibility::External, WildcardDepth::One)]);
        let before = table.clone();
        table.remove(&pattern("shop.test"));
        assert!(table.is_empty());
        assert_eq!(before.len(), 1);
    }
}
