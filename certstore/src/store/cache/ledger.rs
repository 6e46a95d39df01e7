//! What is in the cache: counted as it comes and goes, since moka's own figures lag behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::certificate::Certificate;
use crate::details::unix_seconds;
use crate::metrics::{HORIZONS, Metrics};

/// Sums over the cached certificates.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct Totals {
    pub(in crate::store) entries: u64,
    pub(in crate::store) bytes: u64,
    /// Unix time.
    pub(in crate::store) soonest_expiry: Option<i64>,
}

pub(super) struct Ledger {
    book: Mutex<Book>,
    /// The gauges show this cache, not one before it or after it.
    is_shown: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Book {
    entries: u64,
    bytes: u64,
    /// How many certificates expire in a second.
    expiries: BTreeMap<i64, u32>,
}

impl Ledger {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { book: Mutex::default(), is_shown: AtomicBool::new(false), metrics }
    }

    pub(super) fn add(&self, certificate: &Certificate) {
        let mut book = self.book();
        book.entries += 1;
        book.bytes += certificate.bytes();
        *book.expiries.entry(unix_seconds(certificate.not_after())).or_default() += 1;
        self.show(&book);
    }

    pub(super) fn remove(&self, certificate: &Certificate, is_eviction: bool) {
        if is_eviction {
            self.metrics.evictions.increment();
        }
        let mut book = self.book();
        book.entries = book.entries.saturating_sub(1);
        book.bytes = book.bytes.saturating_sub(certificate.bytes());
        let second = unix_seconds(certificate.not_after());
        if let Some(count) = book.expiries.get_mut(&second) {
            *count -= 1;
            if *count == 0 {
                book.expiries.remove(&second);
            }
        }
        self.show(&book);
    }

    pub(super) fn totals(&self) -> Totals {
        let book = self.book();
        Totals { entries: book.entries, bytes: book.bytes, soonest_expiry: book.soonest_expiry() }
    }

    pub(super) fn count_expired(&self) -> u64 {
        let now = unix_seconds(SystemTime::now());
        let expired = self.book().expiries.range(..now).map(|(_, count)| u64::from(*count)).sum();
        self.metrics.expired.set(expired as f64);
        expired
    }

    /// Counts what expires soon, and publishes it.
    pub(super) fn count_expiring(&self) {
        let now = unix_seconds(SystemTime::now());
        let book = self.book();
        for ((_, horizon), gauge) in HORIZONS.iter().zip(&self.metrics.expiring) {
            let within = if *horizon == 0 { i64::MIN..now } else { now..now.saturating_add(*horizon) };
            let count: u64 = book.expiries.range(within).map(|(_, count)| u64::from(*count)).sum();
            gauge.set(count as f64);
        }
    }

    /// From now on the gauges show this cache.
    pub(super) fn publish(&self) {
        self.is_shown.store(true, Relaxed);
        self.show(&self.book());
    }

    /// Another cache takes over: the gauges are its own.
    pub(super) fn retire(&self) {
        self.is_shown.store(false, Relaxed);
    }

    fn show(&self, book: &Book) {
        if !self.is_shown.load(Relaxed) {
            return;
        }
        self.metrics.entries.set(book.entries as f64);
        self.metrics.bytes.set(book.bytes as f64);
        self.metrics.soonest_expiry.set(book.soonest_expiry().unwrap_or(0) as f64);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn soonest_expiry(&self) -> Option<i64> {
        self.expiries.first_key_value().map(|(second, _)| *second)
    }
}
