//! Exact hosts to routes. The hosts that a service has within the cluster are one entry.
//!
//! Knative gives every service `name.namespace`, `name.namespace.svc` and `name.namespace.svc.cluster.local`, with the
//! same routes: a family, kept under the shortest of these names with a note which of them exist. A host that differs
//! from the rest of its family has an entry of its own.

use std::sync::Arc;

use certstore::name_map::{Entry, NameMap};
use xds::resource::HostPattern;

use super::Routes;
use super::table::{Host, HostPolicy};

/// What the hosts of a family end in, beyond its name, and the bit that stands for it.
const ENDS: [(&str, u8); 3] = [(".svc.cluster.local", 4), (".svc", 2), ("", 1)];

/// Exact hosts to routes: a persistent map, so that a clone is cheap and a change costs O(log n).
#[derive(Clone, Debug, Default)]
pub(super) struct ExactHosts {
    families: NameMap<Arc<Routes>, Members>,
    /// Hosts that differ from their family, by their names in full.
    others: NameMap<Arc<Routes>, HostPolicy>,
    len: usize,
}

/// What holds for the hosts of a family, and which of them there are.
#[derive(Clone, Copy, Debug)]
struct Members {
    policy: HostPolicy,
    /// A bit for each of [`ENDS`].
    ends: u8,
}

/// A family, and the bit of the host that was split.
fn split(host: &str) -> (&str, u8) {
    let family = ENDS.into_iter().find_map(|(end, bit)| Some((host.strip_suffix(end)?, bit)));
    family.filter(|(family, _)| !family.is_empty()).unwrap_or((host, 1))
}

impl ExactHosts {
    /// What a host stands for.
    pub(super) fn get(&self, host: &str) -> Option<Host<'_>> {
        let (family, bit) = split(host);
        let family = self.families.get(family).filter(|entry| entry.tag.ends & bit != 0);
        let host = || self.others.get(host).map(|entry| Host { routes: &entry.value, policy: entry.tag });
        family.map(Host::from).or_else(host)
    }

    /// Sets what a host stands for.
    pub(super) fn insert(&mut self, pattern: &HostPattern, routes: Arc<Routes>, policy: HostPolicy) {
        let host = pattern.as_str();
        self.len += usize::from(self.get(host).is_none());
        let (family, bit) = split(host);
        let Some(known) = self.families.get(family) else {
            let name = if bit == 1 { Arc::clone(pattern.shared()) } else { Arc::from(family) };
            self.found(name, routes, policy, bit);
            return;
        };
        let (name, ends) = (Arc::clone(&known.name), known.tag.ends);
        if is_like(Host::from(known), &routes, policy) {
            self.others.remove(host);
            self.families.insert(name, routes, Members { policy, ends: ends | bit });
        } else if ends == bit {
            self.found(name, routes, policy, bit);
        } else {
            let (value, tag) = (Arc::clone(&known.value), Members { ends: ends & !bit, ..known.tag });
            self.families.insert(name, value, tag);
            self.others.insert(Arc::clone(pattern.shared()), routes, policy);
        }
    }

    /// Removes a host.
    pub(super) fn remove(&mut self, host: &str) {
        self.len -= usize::from(self.get(host).is_some());
        let (family, bit) = split(host);
        match self.families.get(family) {
            Some(known) if known.tag.ends == bit => drop(self.families.remove(family)),
            Some(known) if known.tag.ends & bit != 0 => {
                let (name, value) = (Arc::clone(&known.name), Arc::clone(&known.value));
                let tag = Members { ends: known.tag.ends & !bit, ..known.tag };
                self.families.insert(name, value, tag);
            }
            _ => drop(self.others.remove(host)),
        }
    }

    /// How many hosts there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All hosts with what they stand for, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, Host<'_>)> {
        let families = self.families.iter().flat_map(|entry| {
            let there = ENDS.into_iter().filter(|(_, bit)| entry.tag.ends & bit != 0);
            there.map(move |(end, _)| (format!("{}{end}", entry.name), Host::from(entry)))
        });
        let others = self.others.iter();
        let others = others.map(|entry| (entry.name.to_string(), Host { routes: &entry.value, policy: entry.tag }));
        families.chain(others)
    }

    /// Begins a family with one host. Hosts that were different from the family of before, and are like this one, join:
    /// so a family whose hosts all change, one after the other, is one entry again in the end.
    fn found(&mut self, name: Arc<str>, routes: Arc<Routes>, policy: HostPolicy, bit: u8) {
        let mut ends = bit;
        for (end, its_bit) in ENDS {
            let host = format!("{name}{end}");
            let other = self.others.get(&host).map(|entry| Host { routes: &entry.value, policy: entry.tag });
            // `a.svc` is of family `a`, also where there is a family `a.svc`.
            let is_member = split(&host) == (&*name, its_bit);
            let joins = is_member && other.is_some_and(|other| is_like(other, &routes, policy));
            if joins {
                ends |= its_bit;
            }
            if joins || its_bit == bit {
                self.others.remove(&host);
            }
        }
        self.families.insert(name, routes, Members { policy, ends });
    }
}

impl<'a> From<&'a Entry<Arc<Routes>, Members>> for Host<'a> {
    fn from(entry: &'a Entry<Arc<Routes>, Members>) -> Self {
        Self { routes: &entry.value, policy: entry.tag.policy }
    }
}

fn is_like(host: Host<'_>, routes: &Arc<Routes>, policy: HostPolicy) -> bool {
    Arc::ptr_eq(host.routes, routes) && host.policy == policy
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use xds::resource::{Visibility, WildcardDepth};

    use super::*;

    const POLICY: HostPolicy =
        HostPolicy { visibility: Visibility::ClusterLocal, depth: WildcardDepth::Any, redirect_to_https: false };

    fn pattern(host: &str) -> HostPattern {
        HostPattern::new(host.into())
    }

    fn entries(hosts: &ExactHosts) -> usize {
        hosts.families.len() + hosts.others.len()
    }

    #[test]
    fn it_holds_what_a_map_holds_after_any_changes() {
        let names = ["a", "a.svc", "a.svc.cluster.local", "b", "b.svc", "b.svc.cluster.local", ".svc", "a.svc.svc"];
        let routes: Vec<Arc<Routes>> = (0..3).map(|_| Arc::default()).collect();
        let mut random = fastrand::Rng::with_seed(4);
        let (mut hosts, mut model) = (ExactHosts::default(), HashMap::new());
        for _ in 0..20_000 {
            let name = random.choice(names).unwrap();
            if random.u8(..3) == 0 {
                hosts.remove(name);
                model.remove(name);
            } else {
                let place = random.usize(..routes.len());
                let policy = HostPolicy { redirect_to_https: random.u8(..4) == 0, ..POLICY };
                hosts.insert(&pattern(name), Arc::clone(&routes[place]), policy);
                model.insert(name, (place, policy));
            }
            let found = |name| {
                let host = hosts.get(name)?;
                Some((routes.iter().position(|known| Arc::ptr_eq(known, host.routes))?, host.policy))
            };
            assert!(names.iter().all(|name| found(name) == model.get(name).copied()));
            let listed: HashMap<String, HostPolicy> = hosts.iter().map(|(name, host)| (name, host.policy)).collect();
            assert_eq!((hosts.len(), listed.len()), (model.len(), model.len()));
        }
        for name in names {
            hosts.remove(name);
        }
        assert_eq!((hosts.len(), entries(&hosts)), (0, 0));
    }

    #[test]
    fn the_hosts_of_a_service_are_one_entry_also_after_they_have_changed() {
        let mut hosts = ExactHosts::default();
        for _ in 0..3 {
            let routes = Arc::default();
            for (end, _) in ENDS {
                hosts.insert(&pattern(&format!("hello.shop{end}")), Arc::clone(&routes), POLICY);
            }
            assert_eq!((hosts.len(), entries(&hosts)), (3, 1));
        }
    }

    #[test]
    fn a_host_that_is_not_there_is_not_found_with_its_family() {
        let mut hosts = ExactHosts::default();
        hosts.insert(&pattern("hello.shop.svc"), Arc::default(), POLICY);
        assert!(hosts.get("hello.shop").is_none() && hosts.get("hello.shop.svc.cluster.local").is_none());
        assert!(hosts.get("hello.shop.svc").is_some());
    }
}
