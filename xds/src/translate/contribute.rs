//! What an object contributes, put on record in place of what it contributed before.

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::Translator;
use super::classes::Standing;
use super::draft::{Draft, DraftHost, DraftTls};
use super::objects::Claim;
use super::users::IngressId;
use crate::fault::{Fault, Finder};
use crate::resource::PackedRouteSet;

impl Translator {
    /// Replaces what an object contributes, and settles anew who has which host.
    pub(super) fn contribute(&mut self, id: IngressId, draft: Draft) {
        let Draft { created, routes, hosts, tls } = draft;
        let claims = self.claims(id, hosts, tls);
        // Not `from_vec`: it keeps the allocation of a vector with room for more, even for the one set that is usual.
        let mut routes: SmallVec<_> = routes.into_iter().collect();
        routes.shrink_to_fit();
        let Some(record) = self.state.objects.get(id) else { return };
        if record.created == created && record.routes == routes && record.claims == claims {
            return;
        }
        let limit = self.options.limits.routes_per_host;
        let (was_in_effect, is_kingress) = (record.in_effect, record.is_kingress());
        let mut undecided = self.state.younger_rivals(id);
        self.state.set_effect(id, false, limit, &mut self.pending);
        self.replace_claims(id, routes, claims);
        if let Some(record) = self.state.objects.get_mut(id) {
            record.created = created;
        }
        undecided.extend(self.state.younger_rivals(id));
        if is_kingress {
            undecided.push(id);
        } else {
            self.state.set_effect(id, was_in_effect, limit, &mut self.pending);
        }
        self.pending.recheck([id]);
        self.state.settle(undecided, limit, &mut self.pending);
    }

    /// Puts claims on record while the object is not in effect.
    pub(super) fn replace_claims(
        &mut self,
        id: IngressId,
        routes: SmallVec<[PackedRouteSet; 1]>,
        claims: Box<[Claim]>,
    ) {
        let keeps: HashSet<_> = claims.iter().filter_map(Claim::secret).collect();
        let before = self.state.objects.set(id, routes, claims);
        for secret in before.iter().filter_map(Claim::secret).filter(|secret| !keeps.contains(secret)) {
            self.state.secrets.remove_user(secret, id);
        }
    }

    /// Hosts and bindings as claims: a host that is also bound is one.
    fn claims(&mut self, id: IngressId, hosts: Vec<DraftHost>, tls: Vec<DraftTls>) -> Box<[Claim]> {
        let mut claims: Vec<_> = hosts.into_iter().map(Claim::serves).collect();
        let mut places: HashMap<_, _> = claims.iter().enumerate().map(|(n, claim)| (claim.host.clone(), n)).collect();
        for DraftTls { sni, secret, visibility } in tls {
            let place = *places.entry(sni.clone()).or_insert(claims.len());
            if place == claims.len() {
                claims.push(Claim::binds(sni, visibility));
            }
            claims[place].bind(self.state.secrets.add_user(&secret, id));
        }
        claims.into_boxed_slice()
    }

    /// Notes the class that an Ingress asks for, and what is wrong with it.
    pub(super) fn classify(&mut self, id: IngressId, class: Option<&str>, faults: Vec<Fault>) {
        let Some(part) = self.state.objects.get_mut(id).and_then(|record| record.ingress.as_mut()) else { return };
        part.faults = faults;
        if part.class.as_deref() != class {
            self.classes.leave(part.class.as_ref(), id);
            part.class = self.classes.join(class, id);
        }
    }

    /// Decides whether an Ingress is ours, by what its class is now.
    pub(super) fn reconsider(&mut self, id: IngressId) {
        let Some(record) = self.state.objects.get(id) else { return };
        let Some(part) = &record.ingress else { return };
        let ours = self.classes.standing(part.class.as_deref(), &self.options) == Standing::Ours;
        let faults = if ours { part.faults.clone() } else { Vec::new() };
        self.tell(Finder::Translate, &record.key(), faults);
        self.pending.recheck([id]);
        if ours != record.in_effect {
            let limit = self.options.limits.routes_per_host;
            let rivals = self.state.younger_rivals(id);
            self.state.set_effect(id, ours, limit, &mut self.pending);
            self.state.settle(rivals, limit, &mut self.pending);
        }
    }
}
