//! Secrets that are refused, and what is wrong with those that are served: until they heal or go, bounded in number.
//!
//! Not the backoffs: these end with their time, whether or not the Secret has healed.

use std::collections::HashMap;
use std::time::SystemTime;

use metrics::gauge;
use tokio::sync::watch;

use crate::error::CertError;
use crate::secret::SecretRef;
use crate::warning::Warning;

/// Warnings that are kept of one Secret: a certificate for many names may cover none of them.
const WARNINGS: usize = 8;

/// Secrets with warnings that are told of at a time. Where thousands have them, they are alike.
const WARNED: usize = 256;

const REFUSED: &str = "postern_certstore_faulty_secrets";

/// What is served in place of a version that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Nothing: no earlier version is in memory, nor in the sealed tier, if there is one.
    Nothing {
        /// Whether there is a sealed tier.
        has_sealed_tier: bool,
    },
    /// The last good version, which is in memory.
    LastGood {
        /// The version, if the source knew it.
        version: Option<String>,
    },
    /// The last good version, from the sealed tier.
    SealedCopy,
}

/// A refusal that holds.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: CertError,
    /// When it was refused first.
    pub since: SystemTime,
    /// What is served instead.
    pub serving: Serving,
}

/// What is wrong with one Secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FaultInfo {
    /// Which Secret.
    pub secret: SecretRef,
    /// Why its newest version is refused, if it is.
    pub refused: Option<Refused>,
    /// What is wrong with what is served.
    pub warnings: Vec<Warning>,
}

/// See the [module](self).
pub(super) struct Faults {
    limit: usize,
    refused: Table<Refused>,
    warned: Table<Vec<Warning>>,
    counts: HashMap<&'static str, u32>,
    revision: watch::Sender<u64>,
}

type Table<T> = HashMap<SecretRef, T, foldhash::fast::RandomState>;

impl Faults {
    /// Holds at most `limit` refused Secrets, and [`WARNED`] with warnings.
    pub(super) fn new(limit: usize) -> Self {
        let (refused, warned) = (Table::default(), Table::default());
        Self { limit, refused, warned, counts: HashMap::new(), revision: watch::Sender::new(0) }
    }

    /// The Secret was refused. What is no fault of it is not noted; nor is anything beyond the limit.
    pub(super) fn refused(&mut self, secret: &SecretRef, error: &CertError, serving: Serving) {
        if !error.is_fault() {
            return;
        }
        let before = self.refused.get(secret);
        let is_known = before.is_some_and(|known| {
            known.serving == serving
                && known.error.reason() == error.reason()
                && known.error.to_string() == error.to_string()
        });
        if is_known || before.is_none() && self.refused.len() >= self.limit {
            return;
        }
        let since = before.map_or_else(SystemTime::now, |known| known.since);
        if let Some(before) = self.refused.insert(secret.clone(), Refused { error: error.clone(), since, serving }) {
            self.count(before.error.reason(), false);
        }
        self.count(error.reason(), true);
        self.changed();
    }

    /// The newest version is served, with these warnings.
    pub(super) fn served(&mut self, secret: &SecretRef, mut warnings: Vec<Warning>) {
        warnings.truncate(WARNINGS);
        let was_refused = self.end(secret);
        let before = self.warned.remove(secret);
        let differs = before.as_deref().unwrap_or_default() != warnings;
        if !warnings.is_empty() && (before.is_some() || self.warned.len() < self.limit.min(WARNED)) {
            self.warned.insert(secret.clone(), warnings);
        }
        if was_refused || differs {
            self.changed();
        }
    }

    /// One more thing is wrong with what is served.
    pub(super) fn warned(&mut self, warning: &Warning) {
        let secret = warning.secret();
        if !self.warned.contains_key(secret) && self.warned.len() >= self.limit.min(WARNED) {
            return;
        }
        let warnings = self.warned.entry(secret.clone()).or_default();
        if warnings.len() < WARNINGS && !warnings.contains(warning) {
            warnings.push(warning.clone());
            self.changed();
        }
    }

    /// The Secret is gone.
    pub(super) fn forget(&mut self, secret: &SecretRef) {
        let (was_refused, was_warned) = (self.end(secret), self.warned.remove(secret).is_some());
        if was_refused || was_warned {
            self.changed();
        }
    }

    /// Returns `true` if the Secret is refused, so that a change of it may heal it.
    pub(super) fn is_refused(&self, secret: &SecretRef) -> bool {
        self.refused.contains_key(secret)
    }

    /// What is wrong with one Secret.
    pub(super) fn get(&self, secret: &SecretRef) -> Option<FaultInfo> {
        let (refused, warnings) = (self.refused.get(secret).cloned(), self.warned.get(secret).cloned());
        let is_wrong = refused.is_some() || warnings.is_some();
        is_wrong.then(|| FaultInfo { secret: secret.clone(), refused, warnings: warnings.unwrap_or_default() })
    }

    /// All of it, in the order of the Secrets.
    pub(super) fn all(&self) -> Vec<FaultInfo> {
        let mut secrets: Vec<_> = self.refused.keys().chain(self.warned.keys()).collect();
        secrets.sort_unstable();
        secrets.dedup();
        secrets.into_iter().filter_map(|secret| self.get(secret)).collect()
    }

    /// Rises with each change.
    pub(super) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn end(&mut self, secret: &SecretRef) -> bool {
        let Some(before) = self.refused.remove(secret) else { return false };
        self.count(before.error.reason(), false);
        true
    }

    fn count(&mut self, reason: &'static str, is_more: bool) {
        let count = self.counts.entry(reason).or_default();
        *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        gauge!(REFUSED, "reason" => reason).set(*count);
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }
}

/// Describes the metric of this module to the recorder.
pub(crate) fn describe_metrics() {
    metrics::describe_gauge!(REFUSED, "Secrets whose newest version is refused, by reason.");
    // From the beginning: who watches it has to see that there are none.
    gauge!(REFUSED, "reason" => "key_mismatch").set(0.0);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::SecretError;
    use crate::source::SourceError;

    const NOTHING: Serving = Serving::Nothing { has_sealed_tier: false };

    fn secret(number: usize) -> SecretRef {
        SecretRef::new("shop", number.to_string())
    }

    fn swapped(number: usize) -> CertError {
        CertError::from(Arc::new(SecretError::Swapped { secret: secret(number) }))
    }

    #[test]
    fn a_refusal_holds_until_the_secret_is_served_or_gone() {
        let mut faults = Faults::new(10);
        let revision = faults.revision();
        for number in 0..3 {
            faults.refused(&secret(number), &swapped(number), NOTHING);
        }
        faults.served(&secret(0), Vec::new());
        faults.forget(&secret(1));
        let left: Vec<_> = faults.all().into_iter().map(|fault| fault.secret).collect();
        assert_eq!((left, *revision.borrow()), (vec![secret(2)], 5));
    }

    #[test]
    fn what_is_said_again_is_no_change() {
        let mut faults = Faults::new(10);
        let warning = Warning::ChainBroken { secret: secret(0), position: 1 };
        for _ in 0..3 {
            faults.refused(&secret(0), &swapped(0), NOTHING);
            faults.warned(&warning);
        }
        assert_eq!(*faults.revision().borrow(), 2);
        faults.refused(&secret(0), &swapped(0), Serving::SealedCopy);
        assert_eq!(*faults.revision().borrow(), 3);
    }

    #[test]
    fn a_source_that_does_not_answer_is_no_fault_of_the_secret() {
        let mut faults = Faults::new(10);
        let source = Arc::new(SourceError::Unavailable { source: "away".into() });
        faults.refused(&secret(0), &CertError::Source { secret: secret(0), source }, NOTHING);
        let after = std::time::Duration::from_secs(1);
        faults.refused(&secret(0), &CertError::Deadline { secret: secret(0), after }, NOTHING);
        assert!(faults.all().is_empty());
    }

    #[test]
    fn faults_are_bounded_and_room_is_used_again() {
        let mut faults = Faults::new(10);
        for number in 0..100 {
            faults.refused(&secret(number), &swapped(number), NOTHING);
            faults.warned(&Warning::ChainBroken { secret: secret(number), position: 1 });
        }
        assert_eq!(faults.all().len(), 10);
        faults.forget(&secret(3));
        faults.refused(&secret(99), &swapped(99), NOTHING);
        assert!(faults.is_refused(&secret(99)) && !faults.is_refused(&secret(50)));
    }
}
