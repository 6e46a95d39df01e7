//! What is said of a KIngress, in Knative's words (knative.dev/networking `ingress_lifecycle.go`, net-kourier `ingress.go`).

use std::borrow::Cow;

use super::published::{Balancers, Print};
use crate::fault::{Fault, Severity};
use crate::object::StatusCondition;

/// The types of a KIngress' conditions; the last one sums the others up.
pub(crate) const TYPES: [&str; 3] = ["NetworkConfigured", "LoadBalancerReady", "Ready"];

/// As much as a message may say.
const LONGEST_MESSAGE: usize = 1024;

/// A condition without its type and time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition<'a> {
    pub(crate) status: Cow<'a, str>,
    pub(crate) reason: Cow<'a, str>,
    pub(crate) message: Cow<'a, str>,
}

/// How it stands with a KIngress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that it asks for is in effect.
    Served,
    /// The same, with an earlier version of a certificate: its newest one is refused.
    LastGood(String),
    /// It is in effect here; the other gateways have not confirmed it yet.
    Waiting,
    /// An older object has one of its hosts.
    Conflict,
    /// Something is wrong with it, or with what it refers to.
    Failed(String),
}

impl Verdict {
    /// The conditions, in the order of [`TYPES`].
    pub(crate) fn conditions(&self) -> [Condition<'_>; 3] {
        let good = || condition("True", "", "");
        match self {
            Self::Served => [good(), good(), good()],
            // Knative looks at the status alone; a person reads on.
            Self::LastGood(message) => [good(), good(), condition("True", "SecretRefused", message)],
            Self::Waiting => {
                let waiting = || condition("Unknown", "Uninitialized", "Waiting for load balancer to be ready");
                [good(), waiting(), waiting()]
            }
            Self::Conflict => {
                let message = "Ingress rejected: ingress has a conflicting domain with another ingress";
                let conflict = || condition("False", "DomainConflict", message);
                [condition("Unknown", "", ""), conflict(), conflict()]
            }
            Self::Failed(message) => {
                let failed = || condition("Unknown", "ReconcileIngressFailed", message);
                [failed(), condition("Unknown", "", ""), failed()]
            }
        }
    }

    /// Everything is in effect, and `message` says with which certificate.
    pub(crate) fn last_good(mut message: String) -> Self {
        truncate(&mut message, LONGEST_MESSAGE);
        Self::LastGood(message)
    }

    /// Returns `true` if all that it asks for is in effect.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Served | Self::LastGood(_))
    }

    /// The fingerprint of a status that says so of the present generation.
    pub(crate) fn print(&self, balancers: &Balancers) -> Print {
        Print::of(true, &self.conditions().map(Some), balancers)
    }

    /// The word for metrics and logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Served => "ready",
            Self::LastGood(_) => "last_good",
            Self::Waiting => "waiting",
            Self::Conflict => "conflict",
            Self::Failed(_) => "failed",
        }
    }

    /// What faults make of it; `None` if none of them is an error.
    pub(crate) fn of_faults(faults: &[Fault]) -> Option<Self> {
        let mut errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
        let first = errors.next()?;
        let mut message = match &first.field {
            Some(field) => format!("{field}: {}", first.message),
            None => first.message.clone(),
        };
        truncate(&mut message, LONGEST_MESSAGE);
        Some(Self::Failed(match errors.count() {
            0 => message,
            more => format!("{message} (and {more} more)"),
        }))
    }
}

/// Cuts a text at a character's border.
pub(super) fn truncate(text: &mut String, most: usize) {
    let border = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(border.unwrap_or_default());
}

fn condition<'a>(status: &'a str, reason: &'a str, message: &'a str) -> Condition<'a> {
    Condition { status: status.into(), reason: reason.into(), message: message.into() }
}

impl<'a> From<&'a StatusCondition> for Condition<'a> {
    fn from(seen: &'a StatusCondition) -> Self {
        condition(&seen.status, &seen.reason, &seen.message)
    }
}
