//! What an object contributes, put on record in place of what it contributed before.

use std::sync::Arc;

use hashbrown::HashSet;

use super::Translator;
use super::classes::Standing;
use super::draft::{Claim, Draft};
use super::effect::State;
use super::objects::TlsClaim;
use super::users::IngressId;
use crate::fault::{Fault, Finder};
use crate::resource::RouteSet;

impl Translator {
    /// Replaces what an object contributes, and settles anew who has which host.
    pub(super) fn contribute(&mut self, id: IngressId, draft: Draft) {
        let claims = share_routes(&self.state, id, draft.claims);
        let tls = draft.tls.iter().map(|tls| TlsClaim {
            sni: tls.sni.clone(),
            secret: self.state.secrets.add_user(&tls.secret, id),
            visibility: tls.visibility,
        });
        let tls: Box<[_]> = tls.collect();
        let Some(record) = self.state.objects.get(id) else { return };
        if record.claims == claims && record.tls == tls && record.created == draft.created {
            return;
        }
        let limit = self.options.limits.routes_per_host;
        let (was_in_effect, is_kingress) = (record.in_effect, record.is_kingress());
        let mut undecided = self.state.younger_rivals(id);
        self.state.set_effect(id, false, limit, &mut self.pending);
        self.replace_claims(id, claims, tls);
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
    pub(super) fn replace_claims(&mut self, id: IngressId, claims: Box<[Claim]>, tls: Box<[TlsClaim]>) {
        let keeps: HashSet<_> = tls.iter().map(|claim| claim.secret).collect();
        for dropped in self.state.objects.set(id, claims, tls).iter().filter(|claim| !keeps.contains(&claim.secret)) {
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

/// Claims with the routes that are on record where they are equal, so that they stay shared with what has been sent.
fn share_routes(state: &State, id: IngressId, mut claims: Vec<Claim>) -> Box<[Claim]> {
    let mut last: Option<(Arc<RouteSet>, Arc<RouteSet>)> = None;
    for claim in &mut claims {
        if let Some((new, known)) = &last
            && Arc::ptr_eq(new, &claim.serves.routes)
        {
            claim.serves.routes = Arc::clone(known);
            continue;
        }
        let mut on_record = state.objects.host_claims(claim.host.as_str()).filter(|(owner, ..)| *owner == id);
        if let Some((.., known)) = on_record.next()
            && known.serves.routes == claim.serves.routes
        {
            last = Some((Arc::clone(&claim.serves.routes), Arc::clone(&known.serves.routes)));
            claim.serves.routes = Arc::clone(&known.serves.routes);
        }
    }
    claims.into_boxed_slice()
}
