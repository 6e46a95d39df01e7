//! Another budget: another moka cache, which takes over what fits.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Cache;
use super::generation::{Generation, recalls};
use crate::certificate::Certificate;
use crate::secret::SecretRef;

/// The share of a smaller cache that is kept for last good certificates, which cannot be loaded again.
const LAST_GOOD_SHARE: u64 = 8;

/// Secrets whose entry was put in place or removed while another cache is being filled: as many as loads and removals end
/// meanwhile, a fraction of a second.
#[derive(Default)]
pub(super) struct Changes(Mutex<Option<Vec<SecretRef>>>);

impl Changes {
    /// Nothing is kept of it while no other cache is being filled.
    pub(super) fn note(&self, secret: &SecretRef) {
        if let Some(changed) = lock(&self.0).as_mut() {
            changed.push(secret.clone());
        }
    }

    fn begin(&self) {
        *lock(&self.0) = Some(Vec::new());
    }

    fn end(&self) -> Vec<SecretRef> {
        lock(&self.0).take().unwrap_or_default()
    }
}

impl Cache {
    /// Replaces the cache by one of another size, which takes over the entries used most as far as they fit. Lookups,
    /// loads and removals go on meanwhile.
    ///
    /// What doesn't fit is dropped before the new one is filled, so that both together are never larger than the old
    /// one was, or than the new one may be, by more than moka's own objects. `now` is the time on the store's clock. No
    /// change is made while what `hold_up` returns lives; it is asked for twice, for some microseconds each.
    pub(in crate::store) fn set_budget<G>(&self, budget: u64, now: u64, hold_up: impl Fn() -> G) {
        let _one_at_a_time = lock(&self.resizing);
        let old = self.current.load_full();
        if old.budget == budget {
            return;
        }
        let pause = hold_up();
        self.changes.begin();
        drop(pause);
        let next = Generation::new(budget, self.headroom, &self.metrics, self.sealed.clone());
        let mut kept = self.keep_hottest(&old, next.capacity, now);
        // All of them fit, so nothing is evicted. The last to come is the last to go.
        kept.sort_by_cached_key(|certificate| Reverse(certificate.last_used()));
        for certificate in kept.iter().rev() {
            next.insert(certificate);
        }
        next.entries.run_pending_tasks();
        next.recall(&kept, now);
        let pause = hold_up();
        for secret in self.changes.end() {
            match old.get(&secret) {
                Some(certificate) => next.insert(&certificate),
                None => next.remove(&secret),
            }
        }
        old.ledger.retire();
        next.ledger.publish();
        self.metrics.budget.set(budget as f64);
        self.current.store(Arc::new(next));
        drop(pause);
        self.settle();
    }

    /// Drops from `old` what doesn't fit into `capacity`, and returns the rest. What was asked for often lately stays
    /// before what was asked for once, however late: a crawler asks for every name once. Last good certificates stay
    /// before all others, within an eighth of the capacity.
    fn keep_hottest(&self, old: &Generation, capacity: u64, now: u64) -> Vec<Arc<Certificate>> {
        old.entries.run_pending_tasks();
        let mut entries = old.all();
        let mut pinned = 0;
        // What it is sorted by may change meanwhile.
        entries.sort_by_cached_key(|certificate| {
            let is_pinned = certificate.is_last_good() && pinned + certificate.bytes() <= capacity / LAST_GOOD_SHARE;
            pinned += if is_pinned { certificate.bytes() } else { 0 };
            Reverse((is_pinned, recalls(certificate, now), certificate.last_used()))
        });
        let mut bytes = 0;
        entries.retain(|certificate| {
            let fits = bytes + certificate.bytes() <= capacity;
            if fits {
                bytes += certificate.bytes();
            } else {
                old.remove(certificate.secret());
                self.metrics.evictions.increment();
            }
            fits
        });
        old.entries.run_pending_tasks();
        entries
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::inspect;
    use crate::metrics::Metrics;
    use crate::secret::SecretData;
    use crate::testing::TestCa;

    fn secret(name: &str) -> SecretRef {
        SecretRef::new("shop", name)
    }

    fn certificate(name: &str, version: &str, metrics: &Arc<Metrics>) -> Arc<Certificate> {
        let data: SecretData = TestCa::new().issue(&["shop.test"]).at(version).data();
        let checked = inspect::check(&secret(name), &data).unwrap();
        let hold = |bytes| metrics.hold(bytes);
        Arc::new(Certificate::new(secret(name), checked, data.version.clone(), "shop.test", hold))
    }

    #[test]
    fn what_changes_while_the_budget_does_is_as_it_was_told_last() {
        let metrics = Metrics::register();
        for budget in [1 << 20, 1 << 14] {
            let cache = Cache::new(1 << 16, 0, Arc::clone(&metrics), None);
            for name in ["stays", "removed", "renewed", "back"] {
                cache.insert(&certificate(name, "1", &metrics));
            }
            let times = Cell::new(0);
            cache.set_budget(budget, 1, || {
                times.set(times.get() + 1);
                if times.get() == 2 {
                    // The other cache is full, and not in use yet.
                    cache.remove(&secret("removed"));
                    cache.insert(&certificate("renewed", "2", &metrics));
                    cache.remove(&secret("back"));
                    cache.insert(&certificate("back", "2", &metrics));
                    cache.insert(&certificate("new", "1", &metrics));
                }
            });
            let version = |name| cache.get(&secret(name)).and_then(|found| found.version().map(str::to_owned));
            let found = ["stays", "removed", "renewed", "back", "new"].map(version);
            let expected = [Some("1"), None, Some("2"), Some("2"), Some("1")];
            assert_eq!(found.each_ref().map(Option::as_deref), expected, "{budget}");
            assert_eq!((cache.budget(), cache.totals().entries, times.get()), (budget, 4, 2));
        }
    }

    #[test]
    fn what_was_used_often_stays_before_what_was_used_last() {
        let metrics = Metrics::register();
        let cache = Cache::new(1 << 20, 0, Arc::clone(&metrics), None);
        let often = certificate("often", "1", &metrics);
        often.touch(10);
        (0..8).for_each(|_| often.count_use());
        cache.insert(&often);
        for name in ["crawled-1", "crawled-2", "crawled-3"] {
            let once = certificate(name, "1", &metrics);
            once.touch(1_000);
            cache.insert(&once);
        }
        cache.set_budget(often.bytes() * 5 / 2, 2_000, || ());
        assert!(cache.get(&secret("often")).is_some());
        // Half a day later, that counts no more.
        cache.set_budget(1 << 20, 2_000, || ());
        for name in ["crawled-4", "crawled-5"] {
            let once = certificate(name, "1", &metrics);
            once.touch(40_000_000);
            cache.insert(&once);
        }
        cache.set_budget(often.bytes() * 5 / 2, 40_000_000, || ());
        assert!(cache.get(&secret("often")).is_none());
    }
}
