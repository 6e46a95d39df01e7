//! Which certificate is the newest of a service, and when the gateway may be behind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is known of certificates.
#[derive(Debug)]
pub(crate) struct Book {
    staleness: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    renewed: HashMap<usize, Renewed>,
    outage: Outage,
}

/// A service whose certificate has been renewed; serial numbers of an authority only rise.
#[derive(Clone, Copy, Debug)]
struct Renewed {
    /// The newest.
    serial: u64,
    since: Instant,
    /// The newest one that was old enough to be served when a newer one came.
    settled: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Outage {
    /// The API server answers, and has done so for long enough.
    #[default]
    None,
    /// It is silent.
    Silent,
    /// It has answered again, and until then the gateway may be behind.
    Recovering(Instant),
}

impl Book {
    /// Certificates may be behind by this.
    pub(crate) fn new(staleness: Duration) -> Self {
        Self { staleness, state: Mutex::default() }
    }

    /// Services from this one on have new certificates.
    pub(crate) fn renewed(&self, first: usize, serials: &[u64]) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, &serial) in serials.iter().enumerate() {
            let before = state.renewed.get(&(first + index)).copied();
            let settled = before
                .map_or(0, |before| if now >= before.since + self.staleness { before.serial } else { before.settled });
            state.renewed.insert(first + index, Renewed { serial, since: now, settled });
        }
    }

    /// The API server is silent, or answers again and the gateway has this long to recover.
    pub(crate) fn outage(&self, silent: bool, recovery: Duration) {
        let outage = if silent { Outage::Silent } else { Outage::Recovering(Instant::now() + recovery) };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).outage = outage;
    }

    /// True if a handshake that began then may have been refused because of the API server.
    pub(crate) fn is_outage(&self, began: Instant) -> bool {
        match self.state.lock().unwrap_or_else(PoisonError::into_inner).outage {
            Outage::None => false,
            Outage::Silent => true,
            Outage::Recovering(until) => began < until,
        }
    }

    /// The serial that was to be served at least, if a handshake that began then was given too old a certificate.
    pub(crate) fn too_old(&self, number: usize, serial: u64, began: Instant) -> Option<u64> {
        if self.is_outage(began) {
            return None;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = state.renewed.get(&number)?;
        let wanted = if began > renewed.since + self.staleness { renewed.serial } else { renewed.settled };
        (serial < wanted).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_may_be_behind_for_a_while_and_no_longer() {
        let book = Book::new(Duration::from_secs(5));
        book.renewed(3, &[20]);
        let now = Instant::now();
        assert_eq!(book.too_old(3, 10, now + Duration::from_secs(4)), None);
        assert_eq!(book.too_old(3, 10, now + Duration::from_secs(6)), Some(20));
        assert_eq!(book.too_old(3, 20, now + Duration::from_secs(6)), None);
        assert_eq!(book.too_old(4, 10, now + Duration::from_secs(6)), None);
    }

    #[test]
    fn a_new_renewal_does_not_excuse_what_was_due_before_it() {
        let book = Book::new(Duration::ZERO);
        book.renewed(0, &[20]);
        book.renewed(0, &[30]);
        let book = Book { staleness: Duration::from_secs(60), ..book };
        assert_eq!(book.too_old(0, 10, Instant::now()), Some(20));
        assert_eq!(book.too_old(0, 20, Instant::now()), None);
    }

    #[test]
    fn an_outage_excuses_until_recovery_is_over() {
        let book = Book::new(Duration::ZERO);
        book.renewed(0, &[20]);
        book.outage(true, Duration::ZERO);
        let later = Instant::now() + Duration::from_secs(10);
        assert_eq!(book.too_old(0, 10, later), None);
        book.outage(false, Duration::from_secs(5));
        assert!(book.is_outage(Instant::now()) && !book.is_outage(later));
        assert_eq!(book.too_old(0, 10, later), Some(20));
    }
}
