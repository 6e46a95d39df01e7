//! Settings that change while the gateway runs: `config-postern`, and what Kourier's `config-kourier` and Knative's
//! `config-network` say, where they exist.
//!
//! A [`Reader`] is shown the events of a source (see [`Tap`]) and publishes [`Settings`] on a `watch` channel. A value
//! that cannot be read is a [`Fault`] of its `ConfigMap`, and the last good one stays in effect until
//! there is a better one or the key is gone. Where several maps set the same thing, `config-postern` wins.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use crate::discovery::Source;
use crate::fault::{Fault, Faults, Finder, Severity, Subject};
use crate::object::{Object, ObjectEvent, ObjectKey, ObjectKind, ObjectRef};

mod key;
mod value;

use key::{Key, Meaning};

/// What is set. Whatever is `None` is as it was when the gateway began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes that cached certificates may hold (`cert-cache`).
    pub cert_cache: Option<u64>,
    /// Which log lines are written (`log-level`).
    pub log_level: Option<String>,
    /// Whether each request is logged (`access-log`; Kourier's `enable-service-access-logging`).
    pub access_log: Option<bool>,
    /// How long an upstream may stay silent; zero is no limit (`stream-idle-timeout`, in both maps).
    pub stream_idle_timeout: Option<Duration>,
    /// How long a request waits for an endpoint (`endpoint-wait`).
    pub endpoint_wait: Option<Duration>,
    /// What clients get who ask for an unknown server name, on the external listener (`default-certificate`; Kourier's
    /// `certs-secret-name` and `certs-secret-namespace`).
    pub default_certificate: Option<ObjectRef>,
    /// The same for the internal listener (Kourier's `cluster-cert-secret`).
    pub internal_certificate: Option<ObjectRef>,
}

/// Which `ConfigMap`s are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Postern's own.
    pub postern: ObjectRef,
    /// Kourier's.
    pub kourier: ObjectRef,
    /// Knative's.
    pub network: ObjectRef,
}

impl Names {
    /// The usual names: `config-postern` in our namespace, `config-kourier` and `config-network` in Knative's.
    pub fn new(own_namespace: &str, knative_namespace: &str) -> Self {
        Self {
            postern: ObjectRef::new(own_namespace, "config-postern"),
            kourier: ObjectRef::new(knative_namespace, "config-kourier"),
            network: ObjectRef::new(knative_namespace, "config-network"),
        }
    }

    /// All of them, for a source that has to know what to follow.
    pub fn all(&self) -> Vec<ObjectRef> {
        vec![self.postern.clone(), self.kourier.clone(), self.network.clone()]
    }

    fn which(&self, object: &ObjectRef) -> Option<Which> {
        let names = [(&self.postern, Which::Postern), (&self.kourier, Which::Kourier), (&self.network, Which::Network)];
        names.into_iter().find_map(|(name, which)| (name == object).then_some(which))
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new("postern-system", "knative-serving")
    }
}

/// One of the maps. A later one yields to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Postern,
    Kourier,
    Network,
}

/// Whether a text is a log level; if not, what is wrong with it.
pub type CheckLogLevel = fn(&str) -> Result<(), String>;

/// Reads the maps and publishes what they set.
#[derive(Debug)]
pub struct Reader {
    names: Names,
    faults: Faults,
    check_log_level: CheckLogLevel,
    /// The last good value of each key that is set.
    good: BTreeMap<(Which, &'static str), String>,
    /// What was said last about keys without effect.
    without_effect: BTreeMap<Which, String>,
    settings: watch::Sender<Settings>,
}

impl Reader {
    /// A reader that has seen nothing, and where it publishes.
    pub fn new(names: Names, check_log_level: CheckLogLevel, faults: Faults) -> (Self, watch::Receiver<Settings>) {
        let (settings, receiver) = watch::channel(Settings::default());
        let (good, without_effect) = (BTreeMap::new(), BTreeMap::new());
        (Self { names, faults, check_log_level, good, without_effect, settings }, receiver)
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
            let now = self.combined();
            self.settings.send_if_modified(|settings| {
                let differs = *settings != now;
                if differs {
                    tracing::info!(settings = ?now, "settings changed");
                    *settings = now;
                }
                differs
            });
        }
    }

    /// Returns whether the map is one of these.
    fn apply(&mut self, map: &ConfigMap) -> bool {
        let name = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = ObjectRef::new(name(&map.metadata.namespace), name(&map.metadata.name));
        let Some(which) = self.names.which(&object) else { return false };
        let key = ObjectKey { kind: ObjectKind::ConfigMap, object };
        let (mut faults, mut seen, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (name, text) in map.data.iter().flatten() {
            match key::find(which, name) {
                Some(Key { name, meaning: Meaning::NotYet }) => idle.push(*name),
                Some(Key { name, meaning: Meaning::Sets(setting) }) => {
                    seen.push(*name);
                    match self.check(*setting, text) {
                        Ok(()) => drop(self.good.insert((which, name), text.trim().to_owned())),
                        Err(message) => faults.push(fault(&key, name, message, Severity::Error)),
                    }
                }
                None if key::is_foreign(which, name) => {}
                None => faults.push(fault(&key, name, unknown(which), Severity::Warning)),
            }
        }
        self.good.retain(|(of, name), _| *of != which || seen.contains(name));
        faults.extend(incomplete(which, &seen).map(|(name, message)| fault(&key, name, message, Severity::Error)));
        self.faults.set(Finder::Source, Subject::Object(key), faults);
        self.say_without_effect(which, &idle.join(", "));
        true
    }

    fn remove(&mut self, key: &ObjectKey) -> bool {
        let Some(which) = self.names.which(&key.object) else { return false };
        self.good.retain(|(of, _), _| *of != which);
        self.without_effect.remove(&which);
        self.faults.set(Finder::Source, Subject::Object(key.clone()), Vec::new());
        true
    }

    fn check(&self, setting: key::Setting, text: &str) -> Result<(), String> {
        key::set(&mut key::Draft::default(), setting, text.trim())?;
        if setting == key::Setting::LogLevel { (self.check_log_level)(text.trim()) } else { Ok(()) }
    }

    /// What all maps together set.
    fn combined(&self) -> Settings {
        let mut draft = key::Draft::default();
        // What yields comes first and is overwritten.
        for ((which, name), text) in self.good.iter().rev() {
            if let Some(Key { meaning: Meaning::Sets(setting), .. }) = key::find(*which, name) {
                // It has been checked when it came.
                let _ = key::set(&mut draft, *setting, text);
            }
        }
        draft.settle(&self.names.kourier.namespace)
    }

    /// One line for all keys that are known and not in effect yet, and none while they stay the same.
    fn say_without_effect(&mut self, which: Which, keys: &str) {
        let before = self.without_effect.insert(which, keys.to_owned());
        if before.as_deref().unwrap_or_default() != keys && !keys.is_empty() {
            tracing::info!(map = self.name(which), keys, "keys are known and have no effect yet");
        }
    }

    fn name(&self, which: Which) -> String {
        match which {
            Which::Postern => self.names.postern.to_string(),
            Which::Kourier => self.names.kourier.to_string(),
            Which::Network => self.names.network.to_string(),
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

fn fault(map: &ObjectKey, name: &str, message: String, severity: Severity) -> Fault {
    Fault { subject: Subject::Object(map.clone()), field: Some(format!("data.{name}")), message, severity }
}

fn unknown(which: Which) -> String {
    format!("is not a setting: expected one of {}", key::names(which).collect::<Vec<_>>().join(", "))
}

/// Kourier's default certificate takes two keys.
fn incomplete(which: Which, seen: &[&str]) -> Option<(&'static str, String)> {
    let pair = ["certs-secret-name", "certs-secret-namespace"];
    match pair.map(|name| which == Which::Kourier && seen.contains(&name)) {
        [true, false] => Some((pair[0], format!("has no effect alone: expected {} too", pair[1]))),
        [false, true] => Some((pair[1], format!("has no effect alone: expected {} too", pair[0]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
