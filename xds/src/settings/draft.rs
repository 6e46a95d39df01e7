//! What one map says, before it is known to be valid.

use super::key::{self, CERTIFICATE_KEYS, DEFAULT_CERTIFICATE, Meaning};
use super::unsupported::Unsupported;
use super::{Effect, Value, Values, Which};
use crate::object::ObjectRef;

/// What a map says.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) values: Values,
    pub(super) problems: Vec<Problem>,
    /// Keys that are known and do nothing yet.
    pub(super) idle: Vec<String>,
    /// Keys that ask for something that is not implemented.
    pub(super) unsupported: Vec<&'static Unsupported>,
}

/// What is wrong with a key.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) key: String,
    /// The setting that the key would have set.
    pub(super) setting: Option<&'static str>,
    pub(super) message: String,
    /// Nothing has this name.
    pub(super) is_unknown: bool,
}

impl Draft {
    /// Reads what a map holds.
    pub(super) fn read<'a>(
        which: Which,
        map: &ObjectRef,
        data: impl Iterator<Item = (&'a String, &'a String)>,
        settings: &[(&'static str, Effect)],
    ) -> Self {
        let mut draft = Self::default();
        let mut certificate = [None, None];
        for (name, text) in data {
            match key::find(which, name, settings) {
                Meaning::Sets(setting, ours) => match ours(text) {
                    Ok(text) => draft.set(map, name, setting, text),
                    Err(message) => draft.wrong(name, Some(setting), message),
                },
                Meaning::DefaultCertificate => {
                    let part = usize::from(name != CERTIFICATE_KEYS[0]);
                    certificate[part] = Some(text.trim()).filter(|text| !text.is_empty());
                }
                // Kourier's own text for nothing is an empty one.
                Meaning::NotYet if text.trim().is_empty() => {}
                Meaning::NotYet => draft.idle.push(name.clone()),
                Meaning::Unsupported(key) if key.is_set_by(text) => draft.unsupported.push(key),
                Meaning::TooLate => draft.wrong(name, None, TOO_LATE.to_owned()),
                Meaning::Foreign | Meaning::Unsupported(_) => {}
                Meaning::Unknown => draft.problems.push(Problem {
                    key: name.clone(),
                    setting: None,
                    message: "is not a setting".to_owned(),
                    is_unknown: true,
                }),
            }
        }
        draft.certificate(map, certificate);
        draft
    }

    /// A value is not valid: `last` may have a better one.
    pub(super) fn refuse(&mut self, wrong: (&'static str, String), last: impl Fn(&str) -> Option<Value>) {
        let (setting, message) = wrong;
        // Another map's value, if it isn't here.
        let Some(refused) = self.values.remove(setting) else { return };
        if !self.problems.iter().any(|problem| problem.setting == Some(setting)) {
            self.wrong(&refused.key, Some(setting), message);
        }
        self.values.extend(last(setting).map(|value| (setting, value)));
    }

    /// Kourier's default certificate takes two keys.
    fn certificate(&mut self, map: &ObjectRef, parts: [Option<&str>; 2]) {
        let alone = |other| format!("has no effect alone: expected {other} too");
        match parts {
            [Some(name), Some(namespace)] => {
                self.set(map, CERTIFICATE_KEYS[0], DEFAULT_CERTIFICATE, format!("{namespace}/{name}"));
            }
            [Some(_), None] => self.wrong(CERTIFICATE_KEYS[0], Some(DEFAULT_CERTIFICATE), alone(CERTIFICATE_KEYS[1])),
            [None, Some(_)] => self.wrong(CERTIFICATE_KEYS[1], Some(DEFAULT_CERTIFICATE), alone(CERTIFICATE_KEYS[0])),
            [None, None] => {}
        }
    }

    fn set(&mut self, map: &ObjectRef, key: &str, setting: &'static str, text: String) {
        self.values.insert(setting, Value { text, map: map.clone(), key: key.to_owned() });
    }

    fn wrong(&mut self, key: &str, setting: Option<&'static str>, message: String) {
        self.problems.push(Problem { key: key.to_owned(), setting, message, is_unknown: false });
    }
}

const TOO_LATE: &str = "cannot be set here, since it is used before this map is read: expected as a flag, in the \
                        environment or in the configuration file";
