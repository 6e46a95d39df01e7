//! What is wrong with files and folders, told to [`Faults`] as a whole each time one is read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::input::ParseError;
use crate::fault::{Fault, Faults, Finder, Severity, Subject};

/// Remembers which faults of a path hold, so that they end when they are no longer found.
#[derive(Debug)]
pub(super) struct Reports {
    faults: Faults,
    by_path: HashMap<Arc<str>, Vec<Subject>>,
}

/// The faults found in one file or folder.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeMap<Subject, Vec<Fault>>);

impl Report {
    /// Adds a fault of something that is refused.
    pub(super) fn reject(&mut self, subject: Subject, field: Option<String>, message: impl Into<String>) {
        let fault = Fault { subject: subject.clone(), field, message: message.into(), severity: Severity::Error };
        self.0.entry(subject).or_default().push(fault);
    }

    /// Adds an error of the parser in a document that begins on line `first_line` of its file.
    pub(super) fn parse_error(&mut self, subject: Subject, first_line: u32, error: ParseError) {
        let message = match error.position {
            Some((line, column)) => {
                let line = first_line.saturating_add(line).saturating_sub(1);
                format!("{} (line {line}, column {column})", error.message)
            }
            None => error.message,
        };
        self.reject(subject, error.field, message);
    }

    /// Faults are kept for so many documents of one file; more help nobody.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= 1000
    }
}

impl Reports {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, by_path: HashMap::new() }
    }

    /// Replaces what is wrong with a path.
    pub(super) fn replace(&mut self, path: &Arc<str>, report: Report) {
        let before = self.by_path.remove(path).unwrap_or_default();
        for over in before.into_iter().filter(|subject| !report.0.contains_key(subject)) {
            self.faults.set(Finder::Source, over, Vec::new());
        }
        if report.0.is_empty() {
            return;
        }
        self.by_path.insert(Arc::clone(path), report.0.keys().cloned().collect());
        for (subject, faults) in report.0 {
            self.faults.set(Finder::Source, subject, faults);
        }
    }

    /// One thing is wrong with a path as a whole.
    pub(super) fn reject(&mut self, path: &Arc<str>, message: impl Into<String>) {
        let mut report = Report::default();
        report.reject(Subject::Place { path: Arc::clone(path), document: None, object: None }, None, message);
        self.replace(path, report);
    }
}
