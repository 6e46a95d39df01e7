//! What `ConfigMap`s may set, given how this process was started.

use std::collections::BTreeSet;

use xds::settings::{Effect, Schema, Values};

use super::layers::{ConfigFault, Layers, Origin};
use super::resolve::faults_of_values;
use super::{Config, GATEWAY_SETTINGS};

/// Checks values of `ConfigMap`s as if they were in effect.
#[derive(Debug)]
pub(crate) struct MapSchema {
    /// What flags, environment and file say.
    started: Layers,
}

impl MapSchema {
    pub(crate) fn new(started: Layers) -> Self {
        Self { started }
    }
}

impl Schema for MapSchema {
    fn settings(&self) -> Vec<(&'static str, Effect)> {
        GATEWAY_SETTINGS.iter().map(|setting| (setting.name, setting.effect)).collect()
    }

    fn check(&self, values: &Values) -> Vec<(&'static str, String)> {
        // By itself first: a value that a flag overrides may be wrong too.
        let mut faults = faults_of_values(&Layers::default().with_maps(GATEWAY_SETTINGS, values));
        if faults.iter().all(|fault| of_map(fault).is_none()) {
            let together = self.started.clone().with_maps(GATEWAY_SETTINGS, values);
            faults = Config::resolve(&together).err().unwrap_or_default();
        }
        faults.into_iter().filter_map(|fault| Some((of_map(&fault)?, fault.message))).collect()
    }

    fn accepted(&self, values: &Values) -> BTreeSet<String> {
        let together = self.started.clone().with_maps(GATEWAY_SETTINGS, values);
        Config::resolve(&together).map(|config| config.accept_unsupported.into_iter().collect()).unwrap_or_default()
    }
}

/// The setting of a `ConfigMap` that has this fault, if one has it.
fn of_map(fault: &ConfigFault) -> Option<&'static str> {
    fault.about.filter(|(_, origin)| *origin == Origin::ConfigMap).map(|(setting, _)| setting)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xds::ObjectRef;
    use xds::settings::Value;

    use super::*;

    fn values(pairs: &[(&'static str, &str)]) -> Values {
        let map = ObjectRef::new("postern-system", "config-postern");
        let value = |key: &str, text: &str| Value { text: text.to_owned(), map: map.clone(), key: key.to_owned() };
        pairs.iter().map(|(name, text)| (*name, value(name, text))).collect()
    }

    fn started(flags: &[(&str, &str)]) -> Layers {
        let mut given: BTreeMap<_, _> =
            flags.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        given.insert("source".to_owned(), vec!["kube".to_owned()]);
        Layers::default().with_flags(given)
    }

    fn wrong(flags: &[(&str, &str)], pairs: &[(&'static str, &str)]) -> Vec<&'static str> {
        let faults = MapSchema::new(started(flags)).check(&values(pairs));
        faults.into_iter().map(|(setting, _)| setting).collect()
    }

    #[test]
    fn every_key_of_kouriers_map_sets_something_that_can_change_while_the_gateway_runs() {
        for name in xds::settings::kourier_settings() {
            let setting = GATEWAY_SETTINGS.iter().find(|setting| setting.name == name);
            assert_eq!(setting.map(|setting| setting.effect), Some(Effect::Now), "{name}");
        }
    }

    #[test]
    fn values_are_checked_alone_and_together_with_flags() {
        assert_eq!(wrong(&[], &[("cert-cache", "64MiB"), ("trusted-proxies", "10.0.0.0/8, ::1")]), [""; 0]);
        assert_eq!(
            wrong(&[], &[("cert-cache", "much"), ("log-level", "loud"), ("drain-delay", "5s")]),
            ["cert-cache", "log-level"]
        );
        assert_eq!(wrong(&[("cert-cache", "1MiB")], &[("cert-cache", "much")]), ["cert-cache"]);
        assert_eq!(wrong(&[], &[("cert-cache", "64"), ("memory-limit", "512")]), ["memory-limit", "cert-cache"]);
        assert_eq!(wrong(&[("drain-timeout", "3m")], &[("drain-delay", "2m")]), [""; 0]);
        assert_eq!(wrong(&[], &[("drain-delay", "2m")]), ["drain-delay"]);
        assert_eq!(wrong(&[("drain-delay", "20s")], &[("drain-timeout", "10s")]), ["drain-timeout"]);
    }

    #[test]
    fn a_flag_beats_a_config_map_which_beats_the_default_and_says_where_it_is_from() {
        let values = values(&[("cert-cache", "2MiB"), ("endpoint-wait", "7s")]);
        let layers = started(&[("cert-cache", "1MiB")]).with_maps(GATEWAY_SETTINGS, &values);
        let config = Config::resolve(&layers).expect("it is valid");
        assert_eq!((config.cert_cache, config.endpoint_wait.as_secs()), (Some(bytesize::ByteSize::mib(1)), 7));
        let effective = |name| GATEWAY_SETTINGS.iter().find(|s| s.name == name).map(|s| layers.effective(s));
        let wait = effective("endpoint-wait").expect("it is a setting");
        assert_eq!(wait.place.as_deref(), Some("postern-system/config-postern endpoint-wait"));
        assert_eq!(effective("cert-cache").expect("it is a setting").origin, Origin::Flag);
    }
}
