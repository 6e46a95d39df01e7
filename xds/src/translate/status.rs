//! What the status of an object says, and what it should say.

use std::sync::Arc;

use super::objects::{Claim, Record};
use super::problem::Problems;
use super::users::IngressId;
use super::{Translator, references};
use crate::fault::{Fault, Finder, Subject};
use crate::resource::HostPattern;
use crate::status::{Address, Ask, Hook, Marks, Print, Probe, Published, Task, Verdict, Wanted, Written};

impl Translator {
    /// From now on it is told which objects' status differs from what it should be.
    pub fn report_status(&mut self, hook: Hook) {
        self.status = Some(hook);
    }

    /// Where questions about status come from.
    pub(crate) fn take_asks(&mut self) -> Option<tokio::sync::mpsc::Receiver<Ask>> {
        self.status.as_mut()?.asks.take()
    }

    /// Answers a question about status.
    pub(crate) fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Describe(ids, reply) => {
                // Who asked may be gone; then nobody is in want of an answer.
                let _ = reply.send(ids.into_iter().map(|id| self.describe(id)).collect());
            }
            Ask::Publish(addresses) => self.publish(addresses),
        }
    }

    /// Puts on record what the API server holds.
    pub(super) fn note(&mut self, id: IngressId, published: Published, marks: Marks) {
        if self.state.objects.set_published(id, published, marks) {
            self.pending.recheck([id]);
        }
    }

    /// Notes whether the status of an object differs; `faults` are those of its references.
    pub(super) fn compare_status(&self, record: &Record<'_>, faults: &[Fault]) {
        let Some(hook) = &self.status else { return };
        match self.wanted(hook, record, || faults.to_vec()) {
            Some(wanted) => hook.queue.add(record.id, wanted.print, wanted.pause()),
            None => hook.queue.remove(record.id),
        }
    }

    /// What is to be written about an object, if anything is.
    fn describe(&self, id: IngressId) -> Option<Task> {
        let hook = self.status.as_ref()?;
        let record = self.state.objects.get(id)?;
        let wanted = self.wanted(hook, &record, || self.faults_of_references(&record))?;
        Some(Task { key: record.key(), version: self.version, wanted })
    }

    fn publish(&mut self, addresses: Arc<[Address]>) {
        let Some(hook) = &mut self.status else { return };
        hook.addresses = Some(addresses);
        let objects = &self.state.objects;
        for record in objects.ingresses().filter_map(|id| objects.get(id)) {
            self.compare_status(&record, &[]);
        }
    }

    fn wanted(&self, hook: &Hook, record: &Record<'_>, faults: impl FnOnce() -> Vec<Fault>) -> Option<Wanted> {
        if record.is_kingress() {
            self.wanted_of_kingress(hook, record, faults)
        } else {
            wanted_of_ingress(hook, record)
        }
    }

    fn wanted_of_kingress(
        &self,
        hook: &Hook,
        record: &Record<'_>,
        faults: impl FnOnce() -> Vec<Fault>,
    ) -> Option<Wanted> {
        let (marks, published) = (record.state.marks, record.state.published);
        let removes_finalizer = marks.has_finalizer_to_remove();
        if marks.ends() {
            return removes_finalizer.then(|| Wanted { removes_finalizer, status: None, print: published.print() });
        }
        let verdict = self.verdict(record, faults);
        let print = verdict.print(&hook.balancers);
        let status = (print != published.print()).then(|| {
            let probe = verdict.is_served().then(|| probe(record)).flatten();
            Written::KIngress { verdict, published, probe }
        });
        (status.is_some() || removes_finalizer).then_some(Wanted { removes_finalizer, status, print })
    }

    fn verdict(&self, record: &Record<'_>, faults: impl FnOnce() -> Vec<Fault>) -> Verdict {
        if !self.withheld_for.is_empty() {
            let keys = self.withheld_for.join(", ");
            let way_out = "nothing is served until it is gone or accept-unsupported names it";
            return Verdict::Failed(format!("not implemented: {keys}; {way_out}"));
        }
        if record.state.marks.is_rejected() {
            let told = self.faults.of(Finder::Translate, &Subject::Object(record.key()));
            let unknown = || Verdict::Failed("the object is not valid; the gateway's log says why".to_owned());
            return Verdict::of_faults(&told).unwrap_or_else(unknown);
        }
        if !record.in_effect() {
            return Verdict::Conflict;
        }
        let served = || self.last_good_of(record).map_or(Verdict::Served, Verdict::last_good);
        Verdict::of_faults(&faults()).unwrap_or_else(served)
    }

    /// What is wrong with the newest version of a Secret of which an earlier one is served.
    fn last_good_of(&self, record: &Record<'_>) -> Option<String> {
        let secrets = &self.state.secrets;
        record.claims().filter_map(|claim| claim.secret()).find_map(|secret| {
            let refusal = secrets.refusal(secret)?;
            Some(references::refused(&secrets.object(secret), refusal))
        })
    }

    fn faults_of_references(&self, record: &Record<'_>) -> Vec<Fault> {
        let mut problems = Problems::of(Subject::Object(record.key()));
        references::check(record, &self.state, &self.classes, &self.options, &mut problems);
        problems.into_faults()
    }

    /// The object is gone: nothing is written about it.
    pub(super) fn forget_status(&self, id: IngressId) {
        if let Some(hook) = &self.status {
            hook.queue.remove(id);
        }
    }
}

/// An Ingress that is ours and serves something is reached where the gateway is; others are left alone.
fn wanted_of_ingress(hook: &Hook, record: &Record<'_>) -> Option<Wanted> {
    let addresses = hook.addresses.as_ref()?;
    if !record.in_effect() || record.claims().next().is_none() || record.state.marks.ends() {
        return None;
    }
    let print = Print::of_addresses(addresses);
    let status = (print != record.state.published.print()).then(|| Written::Ingress(Arc::clone(addresses)))?;
    Some(Wanted { removes_finalizer: false, status: Some(status), print })
}

/// A request that finds the object: it is served whole or not at all, so one of its hosts is enough.
fn probe(record: &Record<'_>) -> Option<Probe> {
    let mut claims: Vec<_> = record.claims().filter(Claim::has_routes).collect();
    claims.sort_by_key(|claim| claim.host().starts_with('*'));
    claims.into_iter().find_map(|claim| {
        let set = record.serving(&claim)?.routes.unpack();
        let route = set.routes.iter().find(|route| route.headers.is_empty())?;
        let path = match route.path.as_str() {
            "/" | "" => "/healthz",
            path => path,
        };
        Some(Probe { host: a_host(&claim.host()), path: path.to_owned(), hash: set.probe_hash? })
    })
}

/// A host that the pattern stands for.
fn a_host(pattern: &str) -> String {
    match pattern {
        HostPattern::ANY => "postern-probe.invalid".to_owned(),
        _ if pattern.starts_with('*') => pattern.replacen('*', "postern-probe", 1),
        _ => pattern.to_owned(),
    }
}
