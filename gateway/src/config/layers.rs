//! Layers: where a setting's value comes from, and the faults that are found on the way.

use std::collections::BTreeMap;
use std::fmt;

use xds::settings::{Effect, Values};

use super::setting::Setting;

/// Kourier's environment variables that set something of ours, whatever their value is (net-kourier asks
/// `os.LookupEnv`): its name, the setting, and the value.
const OF_KOURIER: [(&str, &str, &str); 1] = [("KOURIER_HTTPOPTION_DISABLED", "https-redirect", "off")];

/// Values by setting, in order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    layers: Vec<(Origin, BTreeMap<String, Vec<String>>)>,
    /// Where in which `ConfigMap` a setting stands.
    maps: BTreeMap<&'static str, String>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An operator, while the process runs.
    Operator,
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
    /// A `ConfigMap`.
    ConfigMap,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::ConfigMap => "config map",
            Self::Default => "default",
        })
    }
}

/// The values in effect for a setting, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting's name.
    pub name: &'static str,
    /// Its values.
    pub values: Vec<String>,
    /// Where they come from.
    pub origin: Origin,
    /// If from a `ConfigMap`: from which one, and which key of it.
    pub place: Option<String>,
    /// When a `ConfigMap`'s value takes effect.
    pub effect: Effect,
    /// The values that take effect at the next start.
    pub waiting: Option<Vec<String>>,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigFault {
    /// The flag, variable or key, as the user wrote it.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// The setting and the layer that it is about, if it is about one.
    pub about: Option<(&'static str, Origin)>,
}

impl Layers {
    /// Adds what the command line says, by setting.
    #[must_use]
    pub fn with_flags(mut self, flags: BTreeMap<String, Vec<String>>) -> Self {
        self.layers.push((Origin::Flag, flags));
        self
    }

    /// Adds what `lookup` knows of the environment variables of `settings`, and of Kourier's. Empty variables count as
    /// absent, but Kourier's.
    #[must_use]
    pub fn with_environment(mut self, settings: &[Setting], lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut values = BTreeMap::new();
        for setting in settings {
            let Some(text) = lookup(&setting.variable()).filter(|text| !text.is_empty()) else { continue };
            values.insert(setting.name.to_owned(), parts(setting, &text));
        }
        for (variable, setting, value) in OF_KOURIER {
            let is_meant = settings.iter().any(|known| known.name == setting) && lookup(variable).is_some();
            if is_meant && !values.contains_key(setting) {
                values.insert(setting.to_owned(), vec![value.to_owned()]);
            }
        }
        self.layers.push((Origin::Environment, values));
        self
    }

    /// Adds what a configuration file says: a YAML mapping from setting to a scalar or a list of scalars (`listen` may
    /// be a mapping from name to address).
    ///
    /// # Errors
    /// Every key that is unknown or holds something else.
    pub fn with_file(mut self, settings: &[Setting], text: &str) -> Result<Self, Vec<ConfigFault>> {
        let file: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(text).map_err(|error| {
            vec![ConfigFault {
                place: "configuration file".to_owned(),
                message: format!("not a YAML mapping: {error}"),
                about: None,
            }]
        })?;
        let mut values = BTreeMap::new();
        let mut faults = Vec::new();
        for (key, value) in file {
            let result = match settings.iter().find(|setting| setting.name == key) {
                None => Err(format!("no setting has this name; one of: {}", names(settings))),
                Some(setting) => scalars(setting, &value),
            };
            match result {
                Ok(texts) => drop(values.insert(key, texts)),
                Err(message) => {
                    let place = format!("configuration file: {key}");
                    faults.push(ConfigFault { place, message, about: None });
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.layers.push((Origin::File, values));
        Ok(self)
    }

    /// Adds what `ConfigMap`s say.
    #[must_use]
    pub fn with_maps(mut self, settings: &[Setting], values: &Values) -> Self {
        let mut layer = BTreeMap::new();
        for setting in settings {
            let Some(value) = values.get(setting.name) else { continue };
            layer.insert(setting.name.to_owned(), parts(setting, &value.text));
            self.maps.insert(setting.name, format!("{} {}", value.map, value.key));
        }
        self.layers.push((Origin::ConfigMap, layer));
        self
    }

    /// Puts what an operator says above everything.
    #[must_use]
    pub fn with_operator(mut self, setting: &str, value: String) -> Self {
        self.layers.insert(0, (Origin::Operator, BTreeMap::from([(setting.to_owned(), vec![value])])));
        self
    }

    /// The values in effect.
    pub fn effective(&self, setting: &Setting) -> Effective {
        let given = self.layers.iter().find_map(|(origin, values)| Some((*origin, values.get(setting.name)?.clone())));
        let (origin, values) = given.unwrap_or_else(|| {
            let default = (!setting.default.is_empty()).then(|| setting.default.to_owned());
            (Origin::Default, Vec::from_iter(default))
        });
        let place = (origin == Origin::ConfigMap).then(|| self.maps.get(setting.name).cloned()).flatten();
        Effective { name: setting.name, values, origin, place, effect: setting.effect, waiting: None }
    }

    /// The values of a setting that adds up over all layers, the weakest first.
    pub fn accumulated(&self, setting: &Setting) -> Vec<(Origin, String)> {
        let layers = self.layers.iter().rev();
        layers
            .filter_map(|(origin, values)| Some((origin, values.get(setting.name)?)))
            .flat_map(|(origin, values)| values.iter().map(|value| (*origin, value.clone())))
            .collect()
    }
}

/// How a setting is written in its origin.
pub(super) fn place(setting: &Setting, origin: Origin) -> String {
    match origin {
        Origin::Operator => format!("operator: {}", setting.name),
        Origin::Flag | Origin::Default => format!("--{}", setting.name),
        Origin::Environment => setting.variable(),
        Origin::File => format!("configuration file: {}", setting.name),
        Origin::ConfigMap => format!("config map: {}", setting.name),
    }
}

/// A list in one text has commas between its parts.
fn parts(setting: &Setting, text: &str) -> Vec<String> {
    if setting.list { text.split(',').map(|part| part.trim().to_owned()).collect() } else { vec![text.to_owned()] }
}

fn names(settings: &[Setting]) -> String {
    settings.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", ")
}

fn scalars(setting: &Setting, value: &serde_json::Value) -> Result<Vec<String>, String> {
    use serde_json::Value;
    match value {
        Value::Array(items) if setting.list => {
            items.iter().map(|item| scalar(item).ok_or_else(|| "expected a list of scalars".to_owned())).collect()
        }
        Value::Object(map) if setting.list => {
            let pair = |(name, item): (&String, &Value)| Some(format!("{name}={}", scalar(item)?));
            map.iter().map(|entry| pair(entry).ok_or_else(|| "expected a mapping to scalars".to_owned())).collect()
        }
        other => match scalar(other) {
            Some(text) => Ok(vec![text]),
            None if setting.list => Err("expected a scalar or a list of scalars".to_owned()),
            None => Err("expected a scalar".to_owned()),
        },
    }
}

fn scalar(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        // YAML 1.1 habits: `on` and `off` may arrive as booleans.
        Value::Bool(true) => Some("on".to_owned()),
        Value::Bool(false) => Some("off".to_owned()),
        _ => None,
    }
}
