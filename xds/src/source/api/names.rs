//! Which objects of a target exist, and which of them are told.

use std::sync::Arc;

use super::known::Known;
use super::roster::SecretRoster;
use super::target::Target;
use crate::object::{ObjectKind, ObjectRef};

/// Objects of one target.
#[derive(Debug)]
pub(super) enum Names {
    /// All are told, and kept by their names.
    All(Known),
    /// Those are told that somebody refers to.
    Wanted(Arc<SecretRoster>, Arc<str>),
}

impl Names {
    /// Those of Secrets are on the roster, if there is one.
    pub(super) fn of(target: &Target, roster: Option<&Arc<SecretRoster>>) -> Self {
        match roster {
            Some(roster) if target.kind == ObjectKind::Secret => {
                Self::Wanted(Arc::clone(roster), target.namespace.clone().unwrap_or_else(|| "".into()))
            }
            _ => Self::All(Known::default()),
        }
    }

    /// The object exists, in this version. Returns `true` if that is to be told.
    pub(super) fn insert(&mut self, object: &ObjectRef, version: &str) -> bool {
        match self {
            Self::All(known) => {
                known.insert(object);
                true
            }
            Self::Wanted(roster, list) => roster.insert(list, object, version),
        }
    }

    /// The object does not exist. Returns `true` if that is to be told.
    pub(super) fn remove(&mut self, object: &ObjectRef) -> bool {
        match self {
            Self::All(known) => {
                known.remove(object);
                true
            }
            Self::Wanted(roster, list) => roster.remove(list, object),
        }
    }

    /// A complete list begins: from now on it is noted what is named.
    pub(super) fn begin(&mut self) {
        match self {
            Self::All(known) => known.begin(),
            Self::Wanted(roster, list) => roster.begin(list),
        }
    }

    /// The list is complete: forgets what has not been named since [`Names::begin`] and returns what of it is to be told.
    pub(super) fn sweep(&mut self) -> Vec<ObjectRef> {
        match self {
            Self::All(known) => known.sweep(),
            Self::Wanted(roster, list) => roster.sweep(list),
        }
    }

    /// How many exist.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(known) => known.len(),
            Self::Wanted(roster, list) => roster.len(list),
        }
    }
}
