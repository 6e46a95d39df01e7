//! Faults: what is wrong with the configuration right now, by the object or place that has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, Default)]
pub struct Faults {
    by_subject: Arc<Mutex<BTreeMap<Key, Vec<Fault>>>>,
}

/// Source and translator each own their faults about a subject, and heal them apart.
type Key = (Finder, Subject);

/// Who found a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finder {
    /// Reading it.
    Source,
    /// Finding the same object in another place.
    Conflicts,
    /// Making resources of it.
    Translate,
    /// Making resources of it, for what refers to other objects.
    References,
}

impl Faults {
    /// Replaces what `finder` has said about `subject`. Returns true if that is news; each new fault is logged once,
    /// and so is its end.
    pub fn set(&self, finder: Finder, subject: Subject, faults: Vec<Fault>) -> bool {
        let mut by_subject = self.by_subject.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (finder, subject);
        let before = by_subject.get(&key).map_or(&[][..], Vec::as_slice);
        if before == faults {
            return false;
        }
        for fault in faults.iter().filter(|fault| !before.contains(fault)) {
            match fault.severity {
                Severity::Error => tracing::warn!(subject = %fault.subject, "rejected: {fault}"),
                Severity::Warning => tracing::warn!(subject = %fault.subject, "accepted with a fault: {fault}"),
            }
        }
        if faults.is_empty() {
            tracing::info!(subject = %key.1, "faults are mended");
            by_subject.remove(&key);
        } else {
            by_subject.insert(key, faults);
        }
        true
    }

    /// All faults, by subject.
    pub fn all(&self) -> Vec<Fault> {
        let by_subject = self.by_subject.lock().unwrap_or_else(PoisonError::into_inner);
        by_subject.values().flatten().cloned().collect()
    }

    /// How many faults there are.
    pub fn len(&self) -> usize {
        self.by_subject.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
