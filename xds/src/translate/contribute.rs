//! What an object contributes, put on record in place of what it contributed before.

use hashbrown::HashSet;

use super::Translator;
use super::classes::Standing;
use super::draft::{Claim, Draft};
use super::objects::TlsClaim;
use super::routes::PackedRoutes;
use super::users::IngressId;
use crate::fault::{Fault, Finder};

impl Translator {
    /// Replaces what an object contributes, and settles anew who has which host.
    pub(super) fn contribute(&mut self, id: IngressId, draft: Draft) {
        let (routes, claims) = (draft.routes.into_boxed_slice(), draft.claims.into_boxed_slice());
        let tls = draft.tls.iter().map(|tls| TlsClaim {
            sni: tls.sni.clone(),
            secret: self.state.secrets.add_user(&tls.secret, id),
            visibility: tls.visibility,
        });
        let tls: Box<[_]> = tls.collect();
        let Some(record) = self.state.objects.get(id) else { return };
        let created = record.created == draft.created;
        if created && record.routes == routes && record.claims == claims && record.tls == tls {
            return;
        }
        let limit = self.options.limits.routes_per_host;
        let (was_in_effect, is_kingress) = (record.in_effect, record.is_kingress());
        let mut undecided = self.state.younger_rivals(id);
        self.state.set_effect(id, false, limit, &mut self.pending);
        self.replace_claims(id, routes, claims, tls);
        if let Some(record) = self.state.objects.get_mut(id) {
            record.created = draft.created;
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
        routes: Box<[PackedRoutes]>,
        claims: Box<[Claim]>,
        tls: Box<[TlsClaim]>,
    ) {
        let keeps: HashSet<_> = tls.iter().map(|claim| claim.secret).collect();
        let before = self.state.objects.set(id, routes, claims, tls);
        for dropped in before.iter().filter(|claim| !keeps.contains(&claim.secret)) {
            self.state.secrets.remove_user(dropped.secret, id);
        }
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
