//! What an object contributes, put on record in place of what it contributed before.

use hashbrown::{HashMap, HashSet};

use super::Translator;
use super::classes::Standing;
use super::draft::{Draft, DraftHost, DraftTls};
use super::objects::{Contribution, NewClaim, Record};
use super::users::IngressId;
use crate::fault::{Fault, Finder};

impl Translator {
    /// Replaces what an object contributes, and settles anew who has which host.
    pub(super) fn contribute(&mut self, id: IngressId, draft: Draft) {
        let Draft { created, routes, hosts, tls } = draft;
        let claims = self.claims(id, hosts, tls);
        let contribution = self.state.objects.pack(id, created, routes, &claims);
        if self.state.objects.holds(id, &contribution) {
            return;
        }
        let Some(record) = self.state.objects.get(id) else { return };
        let limit = self.options.limits.routes_per_host;
        let (was_in_effect, is_kingress) = (record.in_effect(), record.is_kingress());
        let mut undecided = self.state.younger_rivals(id);
        self.state.set_effect(id, false, limit, &mut self.pending);
        self.replace_claims(id, contribution, &claims);
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
    pub(super) fn replace_claims(&mut self, id: IngressId, contribution: Contribution, claims: &[NewClaim]) {
        let keeps: HashSet<_> = claims.iter().filter_map(|claim| claim.secret).collect();
        let before = self.state.objects.get(id).into_iter().flat_map(Record::claims);
        let released: Vec<_> = before.filter_map(|claim| claim.secret()).filter(|old| !keeps.contains(old)).collect();
        self.state.objects.set(id, contribution);
        for secret in released {
            self.state.secrets.remove_user(secret, id, &mut self.pending);
        }
    }

    /// Hosts and bindings as claims: a host that is also bound is one.
    fn claims(&mut self, id: IngressId, hosts: Vec<DraftHost>, tls: Vec<DraftTls>) -> Vec<NewClaim> {
        let mut claims: Vec<_> = hosts.into_iter().map(NewClaim::from).collect();
        let mut places: HashMap<_, _> = claims.iter().enumerate().map(|(n, claim)| (claim.host.clone(), n)).collect();
        for DraftTls { sni, secret, visibility } in tls {
            let place = *places.entry_ref(&sni).or_insert(claims.len());
            if place == claims.len() {
                claims.push(NewClaim { host: sni, routes: None, secret: None, visibility, redirect_to_https: false });
            }
            claims[place].secret = Some(self.state.secrets.add_user(&secret, id, &mut self.pending));
        }
        claims
    }

    /// Notes the class that an Ingress asks for, and what is wrong with it.
    pub(super) fn classify(&mut self, id: IngressId, class: Option<&str>, faults: Vec<Fault>) {
        let Some(part) = self.state.objects.part_mut(id) else { return };
        part.faults = faults;
        if part.class.as_deref() != class {
            self.classes.leave(part.class.as_ref(), id);
            part.class = self.classes.join(class, id);
        }
    }

    /// Decides whether an Ingress is ours, by what its class is now.
    pub(super) fn reconsider(&mut self, id: IngressId) {
        let Some(record) = self.state.objects.get(id) else { return };
        let Some(part) = self.state.objects.part(id) else { return };
        let ours = self.classes.standing(part.class.as_deref(), &self.options) == Standing::Ours;
        let faults = if ours { part.faults.clone() } else { Vec::new() };
        self.tell(Finder::Translate, &record.key(), faults);
        self.pending.recheck([id]);
        if ours != record.in_effect() {
            let limit = self.options.limits.routes_per_host;
            let rivals = self.state.younger_rivals(id);
            self.state.set_effect(id, ours, limit, &mut self.pending);
            self.state.settle(rivals, limit, &mut self.pending);
        }
    }
}

impl From<DraftHost> for NewClaim {
    fn from(draft: DraftHost) -> Self {
        let DraftHost { host, routes, visibility, redirect_to_https } = draft;
        // An object with more hosts, and so with more sets of routes, has been rejected.
        Self { host, routes: u16::try_from(routes).ok(), secret: None, visibility, redirect_to_https }
    }
}
