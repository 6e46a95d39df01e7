//! Tuning: what `ConfigMap`s say is brought into effect while the gateway runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use certstore::{CertStore, SecretRef};
use tokio::sync::watch;
use xds::settings::{Effect, Values};
use xds::source::api::SecretRoster;

use super::descriptors;
use super::listeners::{self, Dials};
use super::operator::{CERT_CACHE, Word, cert_cache};
use super::secrets::object_ref;
use crate::admin::{BudgetChange, Operator};
use crate::config::{Config, Effective, GATEWAY_SETTINGS, Layers, Origin};
use crate::listener::Admission;
use crate::live::Live;
use crate::overload::Overload;
use crate::telemetry::LogLevel;

/// What can be turned.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) log: LogLevel,
    pub(super) certs: Arc<CertStore>,
    pub(super) admission: Arc<Admission>,
    pub(super) dials: Dials,
    pub(super) overload: Arc<Overload>,
    /// Which Secrets are followed, where not all are.
    pub(super) roster: Option<Arc<SecretRoster>>,
}

/// The configuration in effect, and how it changes.
#[derive(Debug)]
pub(super) struct Tuning {
    /// What flags, environment and file say.
    started: Layers,
    config: Live<Config>,
    shown: Live<Vec<Effective>>,
    parts: Parts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Traffic is served: what takes effect at the next start stays as it is.
    serving: bool,
    /// Settings of `ConfigMap`s that something else overrides, as far as it has been said.
    overridden: BTreeSet<&'static str>,
    /// What the `ConfigMap`s say.
    values: Values,
    /// What an operator says of the certificate cache.
    cert_cache: Word,
}

impl Operator for Tuning {
    fn set_cert_cache(&self, size: Option<String>) -> BudgetChange {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was = self.parts.certs.stats().budget;
        let setting = self.started.clone().with_maps(GATEWAY_SETTINGS, &state.values).effective(cert_cache());
        let is_by_operator = size.is_some();
        state.cert_cache = Word::new(size, &setting);
        self.bring_about(&mut state);
        let overload = &self.parts.overload;
        BudgetChange {
            was,
            is: self.parts.certs.stats().budget,
            wanted: overload.cert_cache(),
            stage: overload.stage(),
            warning: overload.warning(),
            is_by_operator,
            setting,
        }
    }
}

impl Tuning {
    /// Nothing is changed yet.
    pub(super) fn new(config: Config, started: Layers, parts: Parts) -> Arc<Self> {
        let shown = GATEWAY_SETTINGS.iter().map(|setting| started.effective(setting)).collect::<Vec<_>>();
        parts.keep_default(&config);
        Arc::new(Self { config: config.into(), shown: shown.into(), started, parts, state: Mutex::default() })
    }

    /// Looks up the Secret of the default certificate, as it is set at the time.
    pub(super) fn default_certificate(self: &Arc<Self>) -> Box<dyn Fn() -> Option<SecretRef> + Send + Sync> {
        let config = self.config.clone();
        Box::new(move || config.load().default_certificate.clone())
    }

    /// The configuration in effect.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.load())
    }

    /// The settings in effect, as they are shown to operators.
    pub(super) fn shown(&self) -> Live<Vec<Effective>> {
        self.shown.clone()
    }

    /// What can be turned.
    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// From now on, traffic is served as the settings say.
    pub(super) fn begin(&self, values: &Values) {
        self.apply(values);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).serving = true;
    }

    /// Brings each change into effect, until nobody can make one any more.
    pub(super) async fn follow(self: Arc<Self>, mut values: watch::Receiver<Values>) {
        while values.changed().await.is_ok() {
            let now = values.borrow_and_update().clone();
            self.apply(&now);
        }
    }

    fn apply(&self, values: &Values) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.values = values.clone();
        self.bring_about(&mut state);
    }

    fn bring_about(&self, state: &mut State) {
        let values = &state.values.clone();
        let mut layers = self.started.clone().with_maps(GATEWAY_SETTINGS, values);
        if let Some(size) = state.cert_cache.in_effect(&layers.effective(cert_cache())) {
            layers = layers.with_operator(CERT_CACHE, size);
        }
        let mut config = match Config::resolve(&layers) {
            Ok(config) => config,
            Err(faults) => {
                // Each map is checked with the others before; this is one that went away.
                for fault in faults {
                    tracing::error!(%fault, "the settings of the config maps do not go together; the last ones stay");
                }
                return;
            }
        };
        let mut shown: Vec<_> = GATEWAY_SETTINGS.iter().map(|setting| layers.effective(setting)).collect();
        if state.serving {
            let before = self.config.load();
            config.min_tls_version = before.min_tls_version;
            hold_back(&mut shown, &self.shown.load());
        }
        state.say_overridden(values, &shown);
        report(&self.shown.load(), &shown);
        self.turn(&config);
        self.config.set(config);
        self.shown.set(shown);
    }

    fn turn(&self, config: &Config) {
        let Parts { log, certs, admission, dials, overload, .. } = &self.parts;
        self.parts.keep_default(config);
        let before = self.config.load();
        if before.log_level != config.log_level {
            log.set(&config.log_level);
        }
        certs.set_miss_rate(config.cert_miss_rate as u64);
        dials.turn(config);
        // It has been said already if there are too few of them, unless more are wanted now.
        let is_same = before.max_connections == config.max_connections;
        let fit = if is_same { descriptors::fit_silently } else { descriptors::fit };
        if let Ok(connections) = fit(listeners::max_connections(config)) {
            admission.set_trusted(config.trusted_proxies.clone());
            admission.set_limits(listeners::limits(config, connections));
            overload.configure(listeners::overload_settings(config, connections));
        }
    }
}

impl Parts {
    /// No object refers to the default certificate.
    fn keep_default(&self, config: &Config) {
        if let Some(roster) = &self.roster {
            roster.keep(config.default_certificate.as_ref().map(object_ref));
        }
    }
}

impl State {
    /// One line for each value of a `ConfigMap` that has no effect, and none while it stays so.
    fn say_overridden(&mut self, values: &Values, shown: &[Effective]) {
        let given = shown.iter().filter(|effective| values.contains_key(effective.name));
        let overridden = given.filter(|effective| !matches!(effective.origin, Origin::ConfigMap | Origin::Default));
        let mut now = BTreeSet::new();
        for Effective { name, origin, .. } in overridden {
            now.insert(*name);
            if !self.overridden.contains(name) {
                let value = &values[name];
                let map = &value.map;
                tracing::info!(%map, key = value.key, by = %origin, "a config map's setting is overridden");
            }
        }
        self.overridden = now;
    }
}

/// What takes effect at the next start is shown as it is now, and what waits with it.
fn hold_back(shown: &mut [Effective], before: &[Effective]) {
    for (now, before) in shown.iter_mut().zip(before) {
        if now.effect == Effect::NextStart && now.values != before.values {
            *now = Effective { waiting: Some(std::mem::take(&mut now.values)), ..before.clone() };
        }
    }
}

/// One line for each setting that has changed.
fn report(before: &[Effective], now: &[Effective]) {
    for (before, now) in before.iter().zip(now) {
        let (setting, from, to) = (now.name, before.values.join(", "), now.values.join(", "));
        if before.values != now.values {
            let place = now.place.as_deref();
            tracing::info!(setting, from, to, origin = %now.origin, place, "setting changed");
        }
        if let Some(waiting) = now.waiting.as_ref().filter(|_| before.waiting != now.waiting) {
            tracing::info!(setting, now = to, to = waiting.join(", "), "setting takes effect at the next start");
        }
    }
}
