//! The table of hosts: exact names, wildcards by their suffix, and the host `*`.

use std::sync::Arc;

use certstore::name_map::{Entry, NameMap};
use xds::resource::{HostPattern, Visibility, WildcardDepth};

use crate::listener::ListenerName;

use super::Routes;
use super::exact::ExactHosts;

/// What holds for one host pattern, whatever its routes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPolicy {
    /// From where the host may be reached.
    pub visibility: Visibility,
    /// For wildcards: how many labels the `*` stands for.
    pub depth: WildcardDepth,
    /// Plain-text requests on external listeners are answered with 301 to https.
    pub redirect_to_https: bool,
}

/// What one host pattern stands for.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The routes; hosts of one rule share them.
    pub routes: &'a Arc<Routes>,
    /// What else holds.
    pub policy: HostPolicy,
}

impl<'a> From<&'a Entry<Arc<Routes>, HostPolicy>> for Host<'a> {
    fn from(entry: &'a Entry<Arc<Routes>, HostPolicy>) -> Self {
        Self { routes: &entry.value, policy: entry.tag }
    }
}

/// Host patterns to routes, about 40 bytes each, those of a service within the cluster together: a persistent map, so
/// that a clone is cheap and a change costs O(log n).
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: ExactHosts,
    /// Wildcards by what follows `*.`.
    wildcards: NameMap<Arc<Routes>, HostPolicy>,
    any: Option<(Arc<Routes>, HostPolicy)>,
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
    /// Sets what a pattern stands for.
    pub fn insert(&mut self, pattern: &HostPattern, routes: Arc<Routes>, policy: HostPolicy) {
        match kind(pattern) {
            Kind::Exact => self.exact.insert(pattern, routes, policy),
            Kind::Wildcard(suffix) => drop(self.wildcards.insert(Arc::from(suffix), routes, policy)),
            Kind::Any => self.any = Some((routes, policy)),
        }
    }

    /// Removes a pattern.
    pub fn remove(&mut self, pattern: &HostPattern) {
        match kind(pattern) {
            Kind::Exact => self.exact.remove(pattern.as_str()),
            Kind::Wildcard(suffix) => drop(self.wildcards.remove(suffix)),
            Kind::Any => self.any = None,
        }
    }

    /// What exactly this pattern stands for.
    pub fn get(&self, pattern: &HostPattern) -> Option<Host<'_>> {
        match kind(pattern) {
            Kind::Exact => self.exact.get(pattern.as_str()),
            Kind::Wildcard(suffix) => self.wildcards.get(suffix).map(Host::from),
            Kind::Any => self.any(),
        }
    }

    /// What answers for a host on a listener: the exact pattern, then the longest wildcard, then `*`.
    ///
    /// The host is as [`super::host::fold`] leaves it. Patterns which the listener does not serve are passed over, as
    /// if they were not there.
    pub fn lookup(&self, host: &str, listener: ListenerName) -> Option<Host<'_>> {
        let served = |host: &Host<'_>| listener.serves(host.policy.visibility);
        let exact = self.exact.get(host).filter(served);
        exact.or_else(|| self.lookup_wildcard(host, listener)).or_else(|| self.any().filter(served))
    }

    fn any(&self) -> Option<Host<'_>> {
        self.any.as_ref().map(|(routes, policy)| Host { routes, policy: *policy })
    }

    fn lookup_wildcard(&self, host: &str, listener: ListenerName) -> Option<Host<'_>> {
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
            let found = self.wildcards.get(suffix).map(Host::from);
            let found = found.filter(|host| listener.serves(host.policy.visibility));
            if let Some(host) = found.filter(|host| labels == 1 || host.policy.depth == WildcardDepth::Any) {
                return Some(host);
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

    /// All patterns with what they stand for, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (String, Host<'_>)> {
        let wildcards = self.wildcards.iter().map(|entry| (format!("*.{}", entry.name), Host::from(entry)));
        let any = self.any().map(|host| (HostPattern::ANY.to_owned(), host));
        self.exact.iter().chain(wildcards).chain(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::new(Arc::from(text))
    }

    fn table(hosts: &[(&str, Visibility, WildcardDepth)]) -> RouteTable {
        let mut table = RouteTable::default();
        for (host, visibility, depth) in hosts {
            let policy = HostPolicy { visibility: *visibility, depth: *depth, redirect_to_https: false };
            table.insert(&pattern(host), Arc::default(), policy);
        }
        table
    }

    fn found(table: &RouteTable, host: &str, listener: ListenerName) -> Option<String> {
        let routes = table.lookup(host, listener)?.routes;
        table.iter().find(|(_, host)| Arc::ptr_eq(host.routes, routes)).map(|(pattern, _)| pattern)
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
