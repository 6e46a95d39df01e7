//! What is found wrong with one object while it is translated.

use std::fmt;

use crate::fault::{Fault, Severity, Subject};

/// The faults of one object, in the order found. Any error among them rejects the object.
#[derive(Debug)]
pub(super) struct Problems {
    subject: Subject,
    faults: Vec<Fault>,
    untold: usize,
    rejected: bool,
    withdrawn: bool,
}

/// More faults than this in one object are counted, not listed.
const LISTED: usize = 20;

impl Problems {
    pub(super) fn of(subject: Subject) -> Self {
        Self { subject, faults: Vec::new(), untold: 0, rejected: false, withdrawn: false }
    }

    /// Something that rejects what it stands in.
    pub(super) fn error(&mut self, field: impl fmt::Display, message: impl fmt::Display) {
        self.rejected = true;
        self.add(Severity::Error, &field, &message);
    }

    /// Something that rejects what it stands in, and takes away what was served of it before.
    pub(super) fn withdraw(&mut self, field: impl fmt::Display, message: impl fmt::Display) {
        self.withdrawn = true;
        self.error(field, message);
    }

    /// Something that is served all the same.
    pub(super) fn warn(&mut self, field: impl fmt::Display, message: impl fmt::Display) {
        self.add(Severity::Warning, &field, &message);
    }

    /// True if the object must not take effect.
    pub(super) fn rejected(&self) -> bool {
        self.rejected
    }

    /// Returns `true` if nothing of the object may be served, not even what was.
    pub(super) fn withdrawn(&self) -> bool {
        self.withdrawn
    }

    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        if self.untold > 0 {
            let (message, severity) = (format!("and {} more faults", self.untold), Severity::Error);
            self.faults.push(Fault { subject: self.subject, field: None, message, severity });
        }
        self.faults
    }

    fn add(&mut self, severity: Severity, field: &dyn fmt::Display, message: &dyn fmt::Display) {
        if self.faults.len() == LISTED {
            self.untold += 1;
            return;
        }
        let field = Some(field.to_string()).filter(|field| !field.is_empty());
        self.faults.push(Fault { subject: self.subject.clone(), field, message: message.to_string(), severity });
    }
}
