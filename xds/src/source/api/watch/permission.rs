//! Kinds that may not be followed or that the cluster does not have, and a server that does not answer.

use std::time::Duration;

use super::Watcher;
use crate::fault::{Fault, Finder, Severity, Subject};
use crate::object::{Object, ObjectKind};
use crate::source::api::request::Failure;

/// A server that has just started denies everybody everything until it has read its roles, for about two seconds. With
/// the first retry after 500 ms, these take four to eight.
const BELIEVED_DENIALS: u32 = 5;

impl Watcher {
    /// If a failure says that this target cannot be followed for now: reports it, lets the rest go on, and returns
    /// when to try again. What is known of it stays.
    pub(super) fn not_allowed(&mut self, failure: &Failure) -> Option<Duration> {
        match failure.code() {
            Some(403) => {
                if self.denials.failures() + 1 < BELIEVED_DENIALS {
                    return Some(self.denied(failure));
                }
                let rule = self.target.rule();
                self.report(format!("may not be read: expected a rule with {rule}"));
            }
            Some(404) if self.target.kind == ObjectKind::KIngress => {
                if !self.said.passed {
                    tracing::info!(
                        "the cluster has no Knative (no KIngress kind); it is looked for again now and then"
                    );
                }
            }
            _ => return None,
        }
        self.regain();
        self.pass();
        Some(self.denied(failure))
    }

    fn denied(&mut self, failure: &Failure) -> Duration {
        self.denials.fail().max(failure.retry_after().unwrap_or_default())
    }

    /// The server has answered as it should.
    pub(super) fn answered(&mut self) {
        self.regain();
        self.denials.reset();
        if std::mem::take(&mut self.said.fault) {
            self.shared.faults.set(Finder::Source, self.subject(), Vec::new());
        }
    }

    /// The server has not.
    pub(super) fn lose(&mut self, failure: &Failure) {
        if failure.code() == Some(401) {
            let expected = "expected a token or a client certificate that is valid now";
            self.report(format!("the API server does not accept the credentials (401): {expected}"));
        }
        if failure.code() != Some(410) && !std::mem::replace(&mut self.said.lost, true) {
            self.shared.contact.lost(failure);
        }
    }

    fn regain(&mut self) {
        if std::mem::take(&mut self.said.lost) {
            self.shared.contact.back();
        }
    }

    /// Where Secrets of one type are listed, it is known though the metadata does not have it.
    pub(super) fn with_type(&self, mut object: Object) -> Object {
        if let Object::Secret(secret) = &mut object {
            secret.secret_type.clone_from(&self.shared.options.secret_type);
        }
        object
    }

    fn report(&mut self, message: String) {
        self.said.fault = true;
        let fault = Fault { subject: self.subject(), field: None, message, severity: Severity::Error };
        self.shared.faults.set(Finder::Source, self.subject(), vec![fault]);
    }

    fn subject(&self) -> Subject {
        Subject::Place { path: format!("kubernetes:{}", self.target).into(), document: None, object: None }
    }
}
