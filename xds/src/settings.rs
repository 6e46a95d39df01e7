//! Settings that change while the gateway runs: `config-postern`, and what Kourier's `config-kourier` and Knative's
//! `config-network` say, where they exist.
//!
//! A [`Reader`] is shown the events of a source (see [`Tap`]) and publishes [`Values`] on a `watch` channel. What can be
//! set, and what a valid value is, is known to the [`Schema`] of whoever applies them. A value that cannot be used is a
//! [`Fault`] of its `ConfigMap`, and the last good one stays until there is a better one or the key is gone. Where
//! several maps set the same thing, `config-postern` wins.
//!
//! A key that changes who may reach a service and is not implemented is a fault of severity error; some of them keep
//! everything from being served until they are accepted: [`Reader::withheld`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use crate::discovery::Source;
use crate::fault::{Fault, Faults, Finder, Severity, Subject};
use crate::object::{Object, ObjectEvent, ObjectKey, ObjectKind, ObjectRef};

mod draft;
mod key;
mod unsupported;
mod value;

pub use key::kourier_settings;
pub use unsupported::{unsupported_keys, was_unsupported};

use draft::{Draft, Problem};
use unsupported::{Place, Set};

/// What all maps together set, by the name of the setting.
pub type Values = BTreeMap<&'static str, Value>;

/// What a map sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value, as it would be written for the setting itself.
    pub text: String,
    /// The map.
    pub map: ObjectRef,
    /// The key in it.
    pub key: String,
}

/// When a setting that stands in a map takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Now.
    Now,
    /// When the process starts the next time; a change meanwhile waits.
    NextStart,
    /// Never: the setting is used before the maps are read.
    Never,
}

/// What can be set.
pub trait Schema: fmt::Debug + Send {
    /// The settings, and when each takes effect.
    fn settings(&self) -> Vec<(&'static str, Effect)>;

    /// What is wrong with these values, each by itself and all together, by setting; nothing if they are valid.
    fn check(&self, values: &Values) -> Vec<(&'static str, String)>;

    /// Keys that the operator accepts not to be implemented.
    fn accepted(&self, values: &Values) -> BTreeSet<String>;
}

/// Keys that keep everything from being served, as `config-kourier extauthz-host`; none if there are none.
pub type Withheld = Arc<[String]>;

/// Which `ConfigMap`s are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Postern's own.
    pub postern: ObjectRef,
    /// Kourier's, unless it is not to be read.
    pub kourier: Option<ObjectRef>,
    /// Knative's, unless it is not to be read.
    pub network: Option<ObjectRef>,
}

impl Names {
    /// The usual names: `config-postern` in our namespace, `config-kourier` and `config-network` in Knative's.
    pub fn new(own_namespace: &str, knative_namespace: Option<&str>) -> Self {
        let of_knative = |name| knative_namespace.map(|namespace| ObjectRef::new(namespace, name));
        Self {
            postern: ObjectRef::new(own_namespace, "config-postern"),
            kourier: of_knative("config-kourier"),
            network: of_knative("config-network"),
        }
    }

    /// All of them, for a source that has to know what to follow.
    pub fn all(&self) -> Vec<ObjectRef> {
        [Some(&self.postern), self.kourier.as_ref(), self.network.as_ref()].into_iter().flatten().cloned().collect()
    }

    fn which(&self, object: &ObjectRef) -> Option<Which> {
        [Which::Postern, Which::Kourier, Which::Network].into_iter().find(|which| self.name(*which) == Some(object))
    }

    fn name(&self, which: Which) -> Option<&ObjectRef> {
        match which {
            Which::Postern => Some(&self.postern),
            Which::Kourier => self.kourier.as_ref(),
            Which::Network => self.network.as_ref(),
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new("postern-system", Some("knative-serving"))
    }
}

/// One of the maps. A later one yields to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Postern,
    Kourier,
    Network,
}

/// Reads the maps and publishes what they set.
#[derive(Debug)]
pub struct Reader {
    names: Names,
    schema: Box<dyn Schema>,
    faults: Faults,
    /// What each map sets, as far as it is valid.
    good: BTreeMap<Which, Values>,
    /// What was said last about keys without effect.
    without_effect: BTreeMap<Which, String>,
    unsupported: Set,
    values: watch::Sender<Values>,
    withheld: watch::Sender<Withheld>,
}

impl Reader {
    /// A reader that has seen nothing, and where it publishes.
    pub fn new(names: Names, schema: Box<dyn Schema>, faults: Faults) -> (Self, watch::Receiver<Values>) {
        let (values, receiver) = watch::channel(Values::default());
        let (good, without_effect, unsupported) = (BTreeMap::new(), BTreeMap::new(), Set::new());
        let withheld = watch::Sender::new(Withheld::default());
        (Self { names, schema, faults, good, without_effect, unsupported, values, withheld }, receiver)
    }

    /// Keys that keep everything from being served, as they change.
    pub fn withheld(&self) -> watch::Receiver<Withheld> {
        self.withheld.subscribe()
    }

    /// Takes in Kourier's environment variables.
    pub fn read_environment(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        self.unsupported.insert(Place::Environment, unsupported::variables(lookup));
        self.report_unsupported();
    }

    /// Takes in what a source has said, as far as it is about these maps.
    pub fn read(&mut self, events: &[ObjectEvent]) {
        let mut touched = false;
        for event in events {
            match event {
                ObjectEvent::Applied(Object::ConfigMap(map)) => touched |= self.apply(map),
                ObjectEvent::Deleted(key) if key.kind == ObjectKind::ConfigMap => touched |= self.remove(key),
                _ => {}
            }
        }
        if touched {
            let now = self.combined(None);
            self.values.send_if_modified(|values| {
                let differs = *values != now;
                *values = now;
                differs
            });
            self.report_unsupported();
        }
    }

    /// Reports the keys that are not implemented, and publishes those that keep everything from being served.
    fn report_unsupported(&self) {
        let accepted = self.schema.accepted(&self.values.borrow());
        let mut withheld = Vec::new();
        for (place, keys) in &self.unsupported {
            let (subject, name) = self.subject(*place);
            let faults = keys.iter().map(|key| Fault {
                subject: subject.clone(),
                field: Some(match place {
                    Place::Map(_) => format!("data.{}", key.key),
                    Place::Environment => key.name_at(*place).to_owned(),
                }),
                message: key.message(&accepted),
                severity: if accepted.contains(key.key) { Severity::Warning } else { Severity::Error },
            });
            self.faults.set(Finder::Unsupported, subject.clone(), faults.collect());
            let withholding = keys.iter().filter(|key| key.withholds && !accepted.contains(key.key));
            withheld.extend(withholding.map(|key| format!("{name} {}", key.name_at(*place))));
        }
        let withheld = Withheld::from(withheld);
        self.withheld.send_if_modified(|before| {
            let differs = *before != withheld;
            *before = withheld;
            differs
        });
    }

    /// The subject of a place's faults, and its name.
    fn subject(&self, place: Place) -> (Subject, Arc<str>) {
        let map = match place {
            Place::Map(which) => self.names.name(which),
            Place::Environment => None,
        };
        match map {
            Some(map) => {
                let key = ObjectKey { kind: ObjectKind::ConfigMap, object: map.clone() };
                (Subject::Object(key), Arc::clone(&map.name))
            }
            None => (Subject::Place { path: "environment".into(), document: None, object: None }, "environment".into()),
        }
    }

    /// Maps with the keys of theirs that are known and have no effect yet, separated by commas.
    pub fn without_effect(&self) -> impl Iterator<Item = (&ObjectRef, &str)> {
        let said = self.without_effect.iter().filter(|(_, keys)| !keys.is_empty());
        said.filter_map(|(which, keys)| Some((self.names.name(*which)?, keys.as_str())))
    }

    /// Returns whether the map is one of these.
    fn apply(&mut self, map: &ConfigMap) -> bool {
        let name = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = ObjectRef::new(name(&map.metadata.namespace), name(&map.metadata.name));
        let Some(which) = self.names.which(&object) else { return false };
        let mut draft = Draft::read(which, &object, map.data.iter().flatten(), &self.schema.settings());
        self.settle(which, &mut draft);
        self.say_without_effect(which, &object, &draft.idle.join(", "));
        let key = ObjectKey { kind: ObjectKind::ConfigMap, object };
        let faults = draft.problems.iter().map(|problem| self.fault(&key, problem, &draft.values)).collect();
        self.faults.set(Finder::Settings, Subject::Object(key), faults);
        self.good.insert(which, draft.values);
        self.unsupported.insert(Place::Map(which), draft.unsupported);
        true
    }

    /// Replaces what is not valid by what was, or leaves it out.
    fn settle(&self, which: Which, draft: &mut Draft) {
        let last = self.good.get(&which);
        let last = |setting: &str| last.and_then(|values| values.get(setting)).cloned();
        // What could not even be read.
        for problem in &draft.problems {
            let kept = problem.setting.and_then(|setting| Some((setting, last(setting)?)));
            draft.values.extend(kept);
        }
        for wrong in self.schema.check(&self.combined(Some((which, &draft.values)))) {
            draft.refuse(wrong, last);
        }
        for wrong in self.schema.check(&self.combined(Some((which, &draft.values)))) {
            // The old value does not go with the new ones.
            draft.refuse(wrong, |_| None);
        }
    }

    fn remove(&mut self, key: &ObjectKey) -> bool {
        let Some(which) = self.names.which(&key.object) else { return false };
        self.good.remove(&which);
        self.without_effect.remove(&which);
        // Kept without keys, so that its faults end.
        self.unsupported.insert(Place::Map(which), Vec::new());
        self.faults.set(Finder::Settings, Subject::Object(key.clone()), Vec::new());
        true
    }

    /// What all maps together set, with another state of one of them.
    fn combined(&self, other: Option<(Which, &Values)>) -> Values {
        let mut maps: BTreeMap<_, _> = self.good.iter().map(|(which, values)| (*which, values)).collect();
        maps.extend(other);
        // What yields comes first and is overwritten.
        maps.into_values().rev().flatten().map(|(setting, value)| (*setting, value.clone())).collect()
    }

    fn fault(&self, map: &ObjectKey, problem: &Problem, effective: &Values) -> Fault {
        let said = &problem.message;
        let message = match problem.setting.map(|setting| effective.get(setting)) {
            Some(Some(kept)) => format!("{said}; {:?} stays in effect", kept.text),
            Some(None) => format!("{said}; what holds without this key stays in effect"),
            None if problem.is_unknown => {
                let names: Vec<_> = key::names(self.names.which(&map.object), &self.schema.settings()).collect();
                format!("{said}: expected one of {}", names.join(", "))
            }
            None => said.clone(),
        };
        let severity = if problem.setting.is_some() { Severity::Error } else { Severity::Warning };
        let field = Some(format!("data.{}", problem.key));
        Fault { subject: Subject::Object(map.clone()), field, message, severity }
    }

    /// One line for all keys that are known and not in effect yet, and none while they stay the same.
    fn say_without_effect(&mut self, which: Which, map: &ObjectRef, keys: &str) {
        let before = self.without_effect.insert(which, keys.to_owned());
        if before.as_deref().unwrap_or_default() != keys && !keys.is_empty() {
            tracing::info!(%map, keys, "keys are known and have no effect yet");
        }
    }
}

/// A source whose maps are read on the way.
#[derive(Debug)]
pub struct Tap<S> {
    source: S,
    reader: Reader,
}

impl<S> Tap<S> {
    /// Shows the reader what the source says.
    pub fn new(source: S, reader: Reader) -> Self {
        Self { source, reader }
    }
}

impl<S: Source> Source for Tap<S> {
    async fn next(&mut self) -> Vec<ObjectEvent> {
        let events = self.source.next().await;
        self.reader.read(&events);
        events
    }
}

#[cfg(test)]
mod tests;
