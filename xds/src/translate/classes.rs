//! Ingress classes: which Ingresses are ours, and which wait for a class to be.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::Options;
use super::draft;
use super::users::IngressId;

/// The annotation from before `spec.ingressClassName`.
const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Every IngressClass that exists, and every Ingress by the class that it asks for.
#[derive(Debug, Default)]
pub(super) struct Classes {
    defined: HashMap<Arc<str>, Class>,
    members: HashMap<Option<Arc<str>>, HashSet<IngressId>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    ours: bool,
    is_default: bool,
    created: i64,
}

/// How an Ingress' class stands to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ours,
    /// Somebody else's.
    Foreign,
    /// No IngressClass of that name exists, or none is the default one.
    Unknown,
}

/// The class that an Ingress asks for. The annotation goes before the field (Kubernetes API reference, `IngressSpec`:
/// it "must be given precedence over this field").
pub(super) fn wanted(ingress: &Ingress) -> Option<&str> {
    let annotation = ingress.metadata.annotations.as_ref().and_then(|all| all.get(OLD_ANNOTATION));
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    annotation.or(field).map(String::as_str).filter(|class| !class.is_empty())
}

impl Classes {
    /// The class is there. Returns the Ingresses that this may concern.
    pub(super) fn apply(&mut self, name: &str, class: &IngressClass, options: &Options) -> Vec<IngressId> {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        let annotations = class.metadata.annotations.as_ref();
        let is_default = annotations.and_then(|all| all.get(DEFAULT_ANNOTATION)).is_some_and(|v| v == "true");
        let created = draft::created(&class.metadata);
        let ours = controller == Some(&*options.ingress_controller) || options.takes_over(name);
        let now = Class { ours, is_default, created };
        let before = self.defined.insert(name.into(), now);
        if before == Some(now) { Vec::new() } else { self.concerned(name) }
    }

    /// The class is gone. Returns the Ingresses that this may concern.
    pub(super) fn remove(&mut self, name: &str) -> Vec<IngressId> {
        if self.defined.remove(name).is_some() { self.concerned(name) } else { Vec::new() }
    }

    /// How a class stands to us.
    pub(super) fn standing(&self, class: Option<&str>, options: &Options) -> Standing {
        let defined = match class {
            Some(name) => self.defined.get(name),
            None => self.default_class().map(|(_, class)| class),
        };
        match defined {
            Some(class) if class.ours => Standing::Ours,
            Some(_) => Standing::Foreign,
            None if class == Some(&*options.ingress_class) => Standing::Ours,
            None => Standing::Unknown,
        }
    }

    /// Returns `true` if a class is ours by its name alone, in another controller's place.
    pub(super) fn is_taken_over(&self, class: Option<&str>, options: &Options) -> bool {
        match class {
            Some(name) => options.takes_over(name),
            None => self.default_class().is_some_and(|(name, _)| options.takes_over(name)),
        }
    }

    /// An Ingress asks for a class.
    pub(super) fn join(&mut self, class: Option<&str>, id: IngressId) -> Option<Arc<str>> {
        let shared =
            class.map(|class| self.defined.get_key_value(class).map_or_else(|| class.into(), |(k, _)| Arc::clone(k)));
        self.members.entry(shared.clone()).or_default().insert(id);
        shared
    }

    /// An Ingress no longer asks for a class.
    pub(super) fn leave(&mut self, class: Option<&Arc<str>>, id: IngressId) {
        let class = class.cloned();
        if let Some(members) = self.members.get_mut(&class) {
            members.remove(&id);
            if members.is_empty() {
                self.members.remove(&class);
            }
        }
    }

    /// The default class: of several, the youngest (as Kubernetes' admission chooses), then by name.
    fn default_class(&self) -> Option<(&str, &Class)> {
        let defaults = self.defined.iter().filter(|(_, class)| class.is_default);
        let default = defaults.min_by_key(|(name, class)| (std::cmp::Reverse(class.created), Arc::clone(name)));
        default.map(|(name, class)| (&**name, class))
    }

    fn concerned(&self, name: &str) -> Vec<IngressId> {
        let named = self.members.get(&Some(Arc::from(name)));
        let unnamed = self.members.get(&None);
        let mut ids: Vec<_> = named.into_iter().chain(unnamed).flatten().copied().collect();
        ids.sort_unstable();
        ids
    }
}
