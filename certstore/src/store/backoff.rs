//! Secrets that failed, and when they may be tried again: exponential backoff with jitter.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::CertError;
use crate::secret::SecretRef;

/// How long a Secret that failed is left alone.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

impl Schedule {
    /// Doubles with each failure up to `most`; a quarter less or more, so that what failed together is not tried together.
    fn delay(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.most).mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

/// A Secret that failed.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    pub(super) failures: u32,
    pub(super) until: Instant,
    pub(super) error: CertError,
}

/// Secrets that failed, bounded in number.
pub(super) struct Backoffs {
    schedule: Schedule,
    limit: usize,
    failed: HashMap<SecretRef, Backoff, foldhash::fast::RandomState>,
}

impl Backoffs {
    pub(super) fn new(schedule: Schedule, limit: usize) -> Self {
        Self { schedule, limit: limit.max(1), failed: HashMap::default() }
    }

    /// Why the Secret is not to be tried now, if it isn't.
    pub(super) fn current(&self, secret: &SecretRef, now: Instant) -> Option<CertError> {
        self.failed.get(secret).filter(|backoff| backoff.until > now).map(|backoff| backoff.error.clone())
    }

    /// Notes a failure; when there are too many, the one that ends soonest is forgotten.
    pub(super) fn failed(&mut self, secret: &SecretRef, error: CertError, now: Instant) {
        let failures = self.failed.get(secret).map_or(1, |backoff| backoff.failures.saturating_add(1));
        self.note(secret, Backoff { failures, until: now + self.schedule.delay(failures), error });
    }

    /// Notes a failure that is not the Secret's: it is left alone for the first delay, however often that happens.
    pub(super) fn faltered(&mut self, secret: &SecretRef, error: CertError, now: Instant) {
        self.note(secret, Backoff { failures: 1, until: now + self.schedule.delay(1), error });
    }

    fn note(&mut self, secret: &SecretRef, backoff: Backoff) {
        if self.failed.len() >= self.limit && !self.failed.contains_key(secret) {
            let soonest = self.failed.iter().min_by_key(|(_, backoff)| backoff.until).map(|(secret, _)| secret.clone());
            soonest.map(|soonest| self.failed.remove(&soonest));
        }
        self.failed.insert(secret.clone(), backoff);
    }

    pub(super) fn forget(&mut self, secret: &SecretRef) {
        self.failed.remove(secret);
    }

    /// The Secrets that may be tried again; each is given out once until it fails again or its longest delay is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<SecretRef> {
        let again = now + self.schedule.most;
        let due = self.failed.iter_mut().filter(|(_, backoff)| backoff.until <= now);
        due.map(|(secret, backoff)| {
            backoff.until = again;
            secret.clone()
        })
        .collect()
    }

    /// Forgets what has been over for longer than the longest delay: it starts from the first delay again.
    pub(super) fn expire(&mut self, now: Instant) {
        let most = self.schedule.most;
        self.failed.retain(|_, backoff| backoff.until + most > now);
    }

    pub(super) fn len(&self) -> usize {
        self.failed.len()
    }

    pub(super) fn get(&self, secret: &SecretRef) -> Option<&Backoff> {
        self.failed.get(secret)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SecretRef, &Backoff)> {
        self.failed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { first: Duration::from_secs(1), most: Duration::from_secs(60) };

    fn secret(number: usize) -> SecretRef {
        SecretRef::new("shop", number.to_string())
    }

    fn error() -> CertError {
        CertError::Removed { secret: secret(0) }
    }

    #[test]
    fn a_delay_doubles_up_to_the_longest_and_strays_by_a_quarter() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (40, 60.0)] {
            let delay = SCHEDULE.delay(failures).as_secs_f64();
            assert!((seconds * 0.75..=seconds * 1.25).contains(&delay), "{failures} failures: {delay} s");
        }
    }

    #[test]
    fn what_failed_is_left_alone_until_its_delay_is_over() {
        let mut backoffs = Backoffs::new(SCHEDULE, 10);
        let now = Instant::now();
        backoffs.failed(&secret(1), error(), now);
        assert!(backoffs.current(&secret(1), now + Duration::from_millis(700)).is_some());
        assert!(backoffs.current(&secret(1), now + Duration::from_millis(1300)).is_none());
        assert!(backoffs.current(&secret(2), now).is_none());
    }

    #[test]
    fn what_falters_is_left_alone_for_the_first_delay_however_often() {
        let mut backoffs = Backoffs::new(SCHEDULE, 10);
        let now = Instant::now();
        (0..20).for_each(|_| backoffs.faltered(&secret(1), error(), now));
        assert!(backoffs.current(&secret(1), now + Duration::from_millis(700)).is_some());
        assert!(backoffs.current(&secret(1), now + Duration::from_millis(1300)).is_none());
    }

    #[test]
    fn the_number_of_failures_kept_is_bounded() {
        let mut backoffs = Backoffs::new(SCHEDULE, 10);
        let now = Instant::now();
        (0..100).for_each(|number| backoffs.failed(&secret(number), error(), now));
        assert_eq!(backoffs.len(), 10);
        assert!(backoffs.current(&secret(99), now).is_some());
    }

    #[test]
    fn what_is_due_is_given_out_once() {
        let mut backoffs = Backoffs::new(SCHEDULE, 10);
        let now = Instant::now();
        backoffs.failed(&secret(1), error(), now);
        let later = now + Duration::from_secs(2);
        assert_eq!(backoffs.take_due(later), [secret(1)]);
        assert!(backoffs.take_due(later).is_empty());
    }
}
