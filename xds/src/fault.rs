//! Faults: what is wrong with the configuration right now, by the object or place that has it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::object::ObjectKey;

/// Something in the configuration that is not in effect, or not as its author will have meant it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Whose fault it is.
    pub subject: Subject,
    /// The field, as a path (`spec.rules[0].http.paths[1]`), where one can be named.
    pub field: Option<String>,
    /// What is wrong and what would have been right; lower case, no full stop.
    pub message: String,
    /// Whether something is refused, or served all the same.
    pub severity: Severity,
}

/// Whether a fault keeps something from being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something is refused.
    Error,
    /// It is served, but its author should know.
    Warning,
}

impl Severity {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What a [`Fault`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A file, or one document in it (counted from 1).
    Place {
        /// The file.
        path: Arc<str>,
        /// The document in it, counted from 1.
        document: Option<u32>,
        /// The object there, where its kind and name can be read.
        object: Option<ObjectKey>,
    },
    /// An object.
    Object(ObjectKey),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "{object}"),
            Self::Place { path, document, object } => {
                write!(f, "{path}")?;
                if let Some(document) = document {
                    write!(f, " document {document}")?;
                }
                if let Some(object) = object {
                    write!(f, " ({object})")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject)?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The faults that hold at present. Level-triggered: whoever finds out anew what is wrong with a subject says all of
/// it, and what is no longer said is over. Shared by source, translator and readers.
///
/// The texts for [`Faults::MOST_KEPT`] subjects are kept and logged; beyond that faults are only counted.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Default)]
struct Ledger {
    kept: BTreeMap<Key, Vec<Fault>>,
    /// How many faults the other subjects have, by a hash of their keys.
    counted: HashMap<u64, Count>,
    hasher: RandomState,
    total: Count,
}

/// How many faults there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    errors: usize,
    warnings: usize,
}

/// Source and translator each own their faults about a subject, and heal them apart.
type Key = (Finder, Subject);

/// Who found a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finder {
    /// Reading it.
    Source,
    /// Finding the same object in another place.
    Conflicts,
    /// Making resources of it.
    Translate,
    /// Making resources of it, for what refers to other objects.
    References,
    /// Reading the settings in it.
    Settings,
    /// Finding settings in it that are not implemented.
    Unsupported,
    /// Writing status to it.
    Status,
    /// Loading the certificate in it.
    Certificates,
}

const FAULTS: &str = "postern_config_faults";

/// Says what the metrics of faults mean.
pub fn describe_metrics() {
    metrics::describe_gauge!(FAULTS, "Faults in the configuration that hold at present.");
}

impl Faults {
    /// The texts of faults are kept for so many subjects.
    pub const MOST_KEPT: usize = 10_000;

    /// Replaces what `finder` has said about `subject`. Returns true if that is news; each new fault is logged once,
    /// and so is its end.
    pub fn set(&self, finder: Finder, subject: Subject, faults: Vec<Fault>) -> bool {
        self.lock().set((finder, subject), faults)
    }

    /// The faults that are kept, by subject.
    pub fn all(&self) -> Vec<Fault> {
        self.lock().kept.values().flatten().cloned().collect()
    }

    /// What `finder` has said about `subject`, if its texts are kept.
    pub(crate) fn of(&self, finder: Finder, subject: &Subject) -> Vec<Fault> {
        self.lock().kept.get(&(finder, subject.clone())).cloned().unwrap_or_default()
    }

    /// How many faults there are, with those whose texts are not kept.
    pub fn len(&self) -> usize {
        let total = self.lock().total;
        total.errors + total.warnings
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn set(&mut self, key: Key, faults: Vec<Fault>) -> bool {
        let now = Count::of(&faults);
        if !self.kept.contains_key(&key) {
            let hash = self.hasher.hash_one(&key);
            let full = self.kept.len() >= Faults::MOST_KEPT && !faults.is_empty();
            if let Some(before) = self.counted.remove(&hash) {
                if !faults.is_empty() {
                    self.counted.insert(hash, now);
                }
                return self.count(before, now);
            }
            if full {
                self.counted.insert(hash, now);
                return self.count(Count::default(), now);
            }
        }
        if self.kept.get(&key).map_or(&[][..], Vec::as_slice) == faults {
            return false;
        }
        let before = self.kept.remove(&key).unwrap_or_default();
        for fault in faults.iter().filter(|fault| !before.contains(fault)) {
            match fault.severity {
                Severity::Error => tracing::warn!(subject = %fault.subject, "rejected: {fault}"),
                Severity::Warning => tracing::warn!(subject = %fault.subject, "accepted with a fault: {fault}"),
            }
        }
        if faults.is_empty() && !before.is_empty() {
            tracing::info!(subject = %key.1, "faults are mended");
        } else if !faults.is_empty() {
            self.kept.insert(key, faults);
        }
        self.count(Count::of(&before), now)
    }

    /// Brings the totals up to date. Returns true if there is a difference.
    fn count(&mut self, before: Count, now: Count) -> bool {
        self.total.errors = (self.total.errors + now.errors).saturating_sub(before.errors);
        self.total.warnings = (self.total.warnings + now.warnings).saturating_sub(before.warnings);
        metrics::gauge!(FAULTS, "severity" => "error").set(self.total.errors as f64);
        metrics::gauge!(FAULTS, "severity" => "warning").set(self.total.warnings as f64);
        before != Count::default() || now != Count::default()
    }
}

impl Count {
    fn of(faults: &[Fault]) -> Self {
        let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        Self { errors, warnings: faults.len() - errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectKind, ObjectRef};

    fn fault(n: usize, severity: Severity) -> (Subject, Vec<Fault>) {
        let object = ObjectRef::new("default", format!("service-{n}"));
        let subject = Subject::Object(ObjectKey { kind: ObjectKind::Service, object });
        let fault = Fault { subject: subject.clone(), field: None, message: "is wrong".to_owned(), severity };
        (subject, vec![fault])
    }

    #[test]
    fn what_is_said_again_is_no_news() {
        let faults = Faults::default();
        let (subject, wrong) = fault(1, Severity::Error);
        assert!(faults.set(Finder::Source, subject.clone(), wrong.clone()));
        assert!(!faults.set(Finder::Source, subject.clone(), wrong));
        assert!(faults.set(Finder::Source, subject.clone(), Vec::new()));
        assert!(!faults.set(Finder::Source, subject, Vec::new()));
        assert!(faults.is_empty());
    }

    #[test]
    fn finders_heal_their_faults_apart() {
        let faults = Faults::default();
        let (subject, wrong) = fault(1, Severity::Warning);
        faults.set(Finder::Source, subject.clone(), wrong.clone());
        faults.set(Finder::Translate, subject.clone(), wrong);
        faults.set(Finder::Source, subject, Vec::new());
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn beyond_a_bound_faults_are_counted_and_still_heal() {
        let faults = Faults::default();
        let many = Faults::MOST_KEPT + 500;
        for n in 0..many {
            let (subject, wrong) = fault(n, Severity::Error);
            assert!(faults.set(Finder::Source, subject.clone(), wrong.clone()));
            faults.set(Finder::Source, subject, wrong);
        }
        assert_eq!((faults.len(), faults.all().len()), (many, Faults::MOST_KEPT));
        for n in (0..many).rev() {
            faults.set(Finder::Source, fault(n, Severity::Error).0, Vec::new());
        }
        assert!(faults.is_empty());
    }
}
