//! Objects to resources: what does each object contribute, and which resources does a change touch?
//!
//! A [`Translator`] takes one object at a time and keeps a compact record of what it contributed, never the object.
//! Everything is level-triggered: resources and faults are functions of those records, so the order in which objects
//! arrive makes no difference to the result.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use k8s_openapi::api::networking::v1::Ingress;
use tokio::sync::{mpsc, watch};

use crate::fault::{Faults, Finder, Subject};
use crate::object::{Judged, Object, ObjectEvent, ObjectKey, ObjectKind, ObjectRef};
use crate::resource::Update;
use crate::settings::Withheld;
use crate::source::api::SecretRoster;
use crate::status::Hook;

mod accept;
mod backends;
mod classes;
mod contribute;
mod draft;
mod effect;
mod header;
mod host;
mod ingress;
pub mod ingress_nginx;
mod kingress;
mod merge;
mod objects;
mod pending;
mod pool;
mod problem;
mod references;
mod secrets;
mod service;
mod slice;
mod status;
mod tell;
mod users;

use classes::Classes;
use effect::State;
use pending::Pending;
use pool::Pool;

pub use tell::describe_metrics;

/// What a [`Translator`] takes to be meant for this gateway, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The value of `networking.knative.dev/ingress.class` that marks a KIngress as ours.
    pub kingress_class: Arc<str>,
    /// The value of an IngressClass' `spec.controller` that makes the class ours.
    pub ingress_controller: Arc<str>,
    /// The class name that is ours even when no IngressClass of that name exists. [`Options::DEFAULT_CLASS`] is not if an
    /// IngressClass gives it to another controller; any other name is taken over from its controller.
    pub ingress_class: Arc<str>,
    /// Whether a KIngress may redirect to https.
    pub https_redirects: bool,
    /// Namespaces whose Secrets a KIngress of any namespace may name (Knative keeps wildcard certificates there).
    pub shared_secret_namespaces: Vec<Arc<str>>,
    /// Whether an object of a class that nobody is known to serve is a fault. Useful where the source shows
    /// everything there is, as a directory does.
    pub report_unknown_class: bool,
    /// Bounds on what one object or resource may hold.
    pub limits: Limits,
}

impl Options {
    /// The class name that is ours if nothing else is said.
    pub const DEFAULT_CLASS: &str = "postern";

    /// Returns `true` if this class is ours whichever controller it has.
    fn takes_over(&self, class: &str) -> bool {
        &*self.ingress_class == class && class != Self::DEFAULT_CLASS
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kingress_class: "postern.ingress.networking.knative.dev".into(),
            ingress_controller: "postern.dev/ingress-controller".into(),
            ingress_class: Self::DEFAULT_CLASS.into(),
            https_redirects: true,
            shared_secret_namespaces: vec!["knative-serving".into()],
            report_unknown_class: false,
            limits: Limits::default(),
        }
    }
}

/// Bounds on what one object or resource may hold. An object beyond one of them is rejected.
///
/// The defaults are ten times what the largest known users need; they keep one object from taking the process down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Hosts in one object, over all rules and `tls` entries.
    pub hosts_per_object: usize,
    /// Routes of one host, over all objects.
    pub routes_per_host: usize,
    /// Addresses of one cluster; more are ready but not used, and the Service has a fault.
    pub endpoints_per_cluster: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hosts_per_object: 10_000, routes_per_host: 10_000, endpoints_per_cluster: 10_000 }
    }
}

/// Turns objects into resources. See the [module](self).
#[derive(Debug)]
pub struct Translator {
    options: Options,
    faults: Faults,
    state: State,
    classes: Classes,
    addresses: Pool<[SocketAddr]>,
    /// Services with more ready endpoints than are used.
    overfull: HashSet<ObjectRef>,
    pending: Pending,
    /// Told which objects' status differs, if anybody writes it.
    status: Option<Hook>,
    /// Keys that keep everything from being served, and those that are in effect.
    withheld: Option<watch::Receiver<Withheld>>,
    withheld_for: Withheld,
    judged: Option<mpsc::Receiver<Judged>>,
    version: u64,
    complete: bool,
    said_complete: bool,
}

impl Translator {
    /// A translator that knows nothing yet; what it finds wrong goes to `faults`.
    pub fn new(options: Options, faults: Faults) -> Self {
        Self {
            options,
            faults,
            state: State::default(),
            classes: Classes::default(),
            addresses: Pool::default(),
            overfull: HashSet::default(),
            pending: Pending::default(),
            status: None,
            withheld: None,
            withheld_for: Withheld::default(),
            judged: None,
            version: 0,
            complete: false,
            said_complete: false,
        }
    }

    /// Serves nothing from the next [`Translator::flush`] on while there are such keys, and says so in status.
    pub fn withhold(&mut self, keys: watch::Receiver<Withheld>) {
        self.withheld = Some(keys);
    }

    /// From now on it is told which Secrets cannot be served, by whoever reads them.
    pub fn follow_judgements(&mut self, judged: mpsc::Receiver<Judged>) {
        self.judged = Some(judged);
    }

    /// Where it is told.
    pub(crate) fn take_judgements(&mut self) -> Option<mpsc::Receiver<Judged>> {
        self.judged.take()
    }

    /// Takes in whether a Secret can be served. The Secret is known if an object refers to it.
    pub(crate) fn judge(&mut self, (secret, refusal): Judged) {
        self.state.secrets.refuse(&secret, refusal.as_ref(), &mut self.pending);
    }

    /// From now on, of Secrets only those are told that objects refer to; the roster says which of them exist.
    pub fn follow_secrets(&mut self, roster: Arc<SecretRoster>) {
        self.state.secrets.set_roster(roster);
    }

    /// Takes a change in. Its cost depends on what this object touches, not on how much there is.
    pub fn accept(&mut self, event: ObjectEvent) {
        tell::count_event(&event);
        match event {
            ObjectEvent::Applied(object) => self.apply(object),
            ObjectEvent::Deleted(key) => self.remove(&key),
            ObjectEvent::Synced => self.complete = true,
        }
    }

    /// Everything that differs since the last call, or `None` if nothing does.
    ///
    /// A resource that changed and changed back in between is not in the Update. The first Update after the source has
    /// said everything is returned even if it is empty, so that its `complete` is heard. Until then nothing is said to
    /// be missing, since it may just not have been read yet.
    pub fn flush(&mut self) -> Option<Update> {
        self.look_at_withheld();
        if self.complete {
            self.check_references();
        }
        let update = self.take_update();
        if update.is_empty() && self.complete == self.said_complete {
            return None;
        }
        self.version = update.version;
        self.said_complete = self.complete;
        tell::count_update(&update);
        Some(update)
    }

    /// Returns `true` if an Ingress has a class of ours, whether or not it is served.
    pub(crate) fn is_ours(&self, ingress: &ObjectRef) -> bool {
        let record = self.state.objects.find(ObjectKind::Ingress, ingress).and_then(|id| self.state.objects.get(id));
        record.is_some_and(|record| record.in_effect())
    }

    /// Returns `true` if an Ingress is ours because its class was taken over from another controller.
    pub(crate) fn takes_over(&self, ingress: &Ingress) -> bool {
        self.classes.is_taken_over(classes::wanted(ingress), &self.options)
    }

    fn look_at_withheld(&mut self) {
        let now = self.withheld.as_ref().map(|keys| Withheld::clone(&keys.borrow())).unwrap_or_default();
        if now != self.withheld_for {
            let limit = self.options.limits.routes_per_host;
            self.state.withhold(!now.is_empty(), limit, &mut self.pending);
            self.withheld_for = now;
        }
    }

    fn apply(&mut self, object: Object) {
        match object {
            Object::ConfigMap(_) => {}
            Object::EndpointSlice(slice) => self.apply_slice(&slice),
            Object::Ingress(ingress) => self.apply_ingress(&ingress),
            Object::IngressClass(class) => self.apply_class(&class),
            Object::KIngress(ingress) => self.apply_kingress(*ingress),
            Object::Secret(secret) => self.state.secrets.apply(&secret, &mut self.pending),
            Object::Service(service) => self.apply_service(&service),
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        let object = &key.object;
        match key.kind {
            ObjectKind::ConfigMap => {}
            ObjectKind::EndpointSlice => self.state.backends.remove_slice(object, &mut self.pending),
            ObjectKind::Ingress | ObjectKind::KIngress => self.remove_ingress(key),
            ObjectKind::IngressClass => self.remove_class(&object.name),
            ObjectKind::Secret => self.state.secrets.remove(object, &mut self.pending),
            ObjectKind::Service => self.state.backends.remove_service(object, &mut self.pending),
        }
        self.faults.set(Finder::Translate, Subject::Object(key.clone()), Vec::new());
    }
}

#[cfg(test)]
mod tests;
