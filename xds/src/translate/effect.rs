//! What is in effect: which object serves a host, binds a server name, refers to a cluster.
//!
//! Hosts are contended for by age: a KIngress is in effect if no older object in effect has one of its hosts, and is
//! rejected whole otherwise (as Kourier does, which asks only who came first). An Ingress shares hosts with other
//! Ingresses and yields just the hosts that an older KIngress has. Claims of those who lost stay on record, so whoever
//! is next takes over when the owner goes. What is older never depends on what is younger, so there is one outcome,
//! whatever the order in which objects arrived.

use std::cell::LazyCell;

use super::backends::Backends;
use super::merge;
use super::objects::{Claim, Objects, Record, Serving};
use super::pending::Pending;
use super::secrets::Secrets;
use super::users::IngressId;
use crate::resource::PackedRouteSet;
use crate::resource::{ClusterName, HostPattern, RouteSet, TlsBinding};

/// Everything that is on record.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) objects: Objects,
    pub(super) backends: Backends,
    pub(super) secrets: Secrets,
    /// Nothing is served, whatever is on record.
    pub(super) is_withheld: bool,
}

impl State {
    /// What serves a host.
    pub(super) fn serving(&self, host: &str, route_limit: usize) -> Option<Serving> {
        if self.is_withheld {
            return None;
        }
        let mut sharing = Vec::new();
        for (record, claim) in self.objects.host_claims(host).filter(|(record, _)| record.in_effect()) {
            if record.is_kingress() {
                return record.serving(&claim);
            }
            sharing.push((record, claim));
        }
        if let [(record, only)] = &sharing[..] {
            return record.serving(only);
        }
        sharing.sort_unstable_by(|(a, _), (b, _)| a.age().cmp(&b.age()));
        let (record, oldest) = sharing.first()?;
        let sets: Vec<_> = sharing.iter().map(|(record, claim)| paths_of(record, claim)).collect();
        let (merged, _) = merge::merge(&sets, route_limit);
        Some(Serving { routes: PackedRouteSet::pack(&merged), ..record.serving(oldest)? })
    }

    /// True if a host has more routes than it may, and those of this object are therefore left out.
    pub(super) fn is_left_out(&self, record: &Record<'_>, host: &str, route_limit: usize) -> bool {
        if self.routes_of(host) <= route_limit {
            return false;
        }
        let mut sharing: Vec<_> = self.objects.host_claims(host).filter(|(record, _)| record.in_effect()).collect();
        sharing.sort_unstable_by(|(a, _), (b, _)| a.age().cmp(&b.age()));
        let sets: Vec<_> = sharing.iter().map(|(record, claim)| paths_of(record, claim)).collect();
        let (_, left_out) = merge::merge(&sets, route_limit);
        left_out.iter().any(|place| sharing[*place].0.id == record.id)
    }

    /// How many routes a host has, over all objects.
    fn routes_of(&self, host: &str) -> usize {
        let claims = self.objects.host_claims(host);
        claims.map(|(record, claim)| paths_of(&record, &claim).routes.len()).sum()
    }

    /// The TLS binding that is in effect for a server name.
    pub(super) fn binding(&self, sni: &str) -> Option<TlsBinding> {
        if self.is_withheld {
            return None;
        }
        let (_, claim) = self.binding_claim(sni)?;
        Some(TlsBinding { secret: self.secrets.object(claim.secret()?), visibility: claim.visibility })
    }

    /// Who binds a server name: of those who serve the host the oldest, or else the oldest of all. So nobody can put
    /// a certificate before another one's host that has one.
    pub(super) fn binding_claim(&self, sni: &str) -> Option<(Record<'_>, Claim<'_>)> {
        let candidates = self.objects.sni_claims(sni).filter(|(record, _)| record.in_effect());
        let mut best: Option<(bool, Record<'_>, Claim<'_>)> = None;
        for (record, claim) in candidates {
            let elsewhere = !self.serves(&record, sni);
            if best.is_none_or(|(other, oldest, _)| (elsewhere, record.age()) < (other, oldest.age())) {
                best = Some((elsewhere, record, claim));
            }
        }
        best.map(|(_, record, claim)| (record, claim))
    }

    /// The KIngress in effect that has a host, if any.
    pub(super) fn owner(&self, host: &str) -> Option<Record<'_>> {
        let mut claims = self.objects.host_claims(host).map(|(record, _)| record);
        claims.find(|record| record.in_effect() && record.is_kingress())
    }

    /// What keeps a KIngress from taking effect: the first of its hosts that an older object in effect has.
    pub(super) fn blocker(&self, record: &Record<'_>) -> Option<(String, Record<'_>)> {
        let hosts = record.claims().filter(Claim::has_routes).map(|claim| claim.host());
        let mut blocked = hosts.filter_map(|host| self.older_holder(&host, record).map(|holder| (host, holder)));
        blocked.next()
    }

    /// Sets whether an object is in effect, and with it who refers to which cluster.
    pub(super) fn set_effect(&mut self, id: IngressId, in_effect: bool, route_limit: usize, pending: &mut Pending) {
        let Some(record) = self.objects.get(id) else { return };
        if record.in_effect() == in_effect {
            return;
        }
        let clusters = clusters(&record);
        self.touch(&record, route_limit, pending);
        self.recheck_rivals(&record, route_limit, pending);
        self.objects.set_in_effect(id, in_effect);
        for cluster in &clusters {
            if in_effect {
                self.backends.add_user(cluster, id, pending);
            } else {
                self.backends.remove_user(cluster, id, pending);
            }
        }
    }

    /// Withholds everything from being served, or nothing any more.
    pub(super) fn withhold(&mut self, is_withheld: bool, route_limit: usize, pending: &mut Pending) {
        for record in self.objects.all() {
            pending.recheck([record.id]);
            if is_withheld != self.is_withheld {
                self.touch(&record, route_limit, pending);
            }
        }
        self.is_withheld = is_withheld;
    }

    /// Decides anew about these objects, and about all that this touches, from the oldest to the youngest.
    pub(super) fn settle(&mut self, mut undecided: Vec<IngressId>, route_limit: usize, pending: &mut Pending) {
        self.youngest_first(&mut undecided);
        while let Some(id) = undecided.pop() {
            let Some(record) = self.objects.get(id).filter(Record::is_kingress) else { continue };
            let in_effect = self.blocker(&record).is_none();
            if in_effect != record.in_effect() {
                undecided.extend(self.younger_rivals(id));
                self.set_effect(id, in_effect, route_limit, pending);
                self.youngest_first(&mut undecided);
            }
        }
    }

    /// The KIngresses that are younger and claim one of the same hosts.
    pub(super) fn younger_rivals(&self, id: IngressId) -> Vec<IngressId> {
        let Some(record) = self.objects.get(id) else { return Vec::new() };
        let mut rivals = Vec::new();
        for claim in record.claims().filter(Claim::has_routes) {
            let host = claim.host();
            let others = self.objects.host_claims(&host).map(|(other, _)| other);
            let younger = others.filter(|other| other.is_kingress() && record.is_older(other));
            rivals.extend(younger.map(|other| other.id));
        }
        rivals
    }

    /// What an object claims is about to change.
    fn touch(&self, record: &Record<'_>, route_limit: usize, pending: &mut Pending) {
        for claim in record.claims() {
            let pattern = HostPattern::new(claim.host().into());
            let host = pattern.as_str();
            if claim.has_routes() {
                pending.touch_host(&pattern, || self.serving(host, route_limit));
            }
            // Who serves a host has a say in who binds its name.
            if claim.secret().is_some() || self.objects.sni_claims(host).nth(1).is_some() {
                pending.touch_sni(&pattern, || self.binding(host));
            }
        }
    }

    /// Has those looked at again who may get or lose something to this object.
    fn recheck_rivals(&self, record: &Record<'_>, route_limit: usize, pending: &mut Pending) {
        pending.recheck([record.id]);
        for claim in record.claims() {
            let host = claim.host();
            let mine = LazyCell::new(|| paths_of(record, &claim));
            let crowded = LazyCell::new(|| self.routes_of(&host) > route_limit);
            let contends = |(other, claimed): &(Record<'_>, Claim<'_>)| {
                let all_or_nothing = || record.is_kingress() || other.is_kingress() || *crowded;
                let meet = || !merge::shared_paths(&mine, &paths_of(other, claimed)).is_empty();
                other.id != record.id && (all_or_nothing() || meet())
            };
            if claim.has_routes() {
                pending.recheck(self.objects.host_claims(&host).filter(contends).map(|(other, _)| other.id));
            }
            let differs = |(_, theirs): &(Record<'_>, Claim<'_>)| theirs.secret() != claim.secret();
            pending.recheck(self.objects.sni_claims(&host).filter(differs).map(|(other, _)| other.id));
        }
    }

    fn older_holder(&self, host: &str, record: &Record<'_>) -> Option<Record<'_>> {
        let others = self.objects.host_claims(host).map(|(other, _)| other);
        // The oldest: a fault that names it doesn't depend on the order in which objects arrived.
        others.filter(|other| other.in_effect() && other.is_older(record)).min_by(|a, b| a.age().cmp(&b.age()))
    }

    fn serves(&self, record: &Record<'_>, host: &str) -> bool {
        let claims = self.objects.host_claims(host).any(|(other, _)| other.id == record.id);
        claims && (record.is_kingress() || self.owner(host).is_none())
    }

    fn youngest_first(&self, ids: &mut Vec<IngressId>) {
        let age = |id: &IngressId| self.objects.get(*id).map(|record| record.age());
        ids.sort_by(|a, b| age(b).cmp(&age(a)));
        ids.dedup();
    }
}

#[cfg(test)]
impl State {
    /// How many records and index entries there are.
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.objects.size(), self.backends.size(), self.secrets.size()]
    }
}

/// The routes of a claim, for their paths.
pub(super) fn paths_of(record: &Record<'_>, claim: &Claim<'_>) -> RouteSet {
    record.serving(claim).map(|serving| serving.routes.unpack()).unwrap_or_default()
}

/// The clusters that an object's routes refer to, each once.
pub(super) fn clusters(record: &Record<'_>) -> Vec<ClusterName> {
    let routes = record.routes.iter().flat_map(|packed| packed.unpack().routes);
    let mut clusters: Vec<_> = routes.flat_map(|route| route.action.splits).map(|split| split.cluster).collect();
    clusters.sort_unstable();
    clusters.dedup();
    clusters
}
