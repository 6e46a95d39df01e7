//! Values that repeat are held once: lists of addresses.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;

/// Shared values by content. A value that nobody else holds any more, or only one other, is forgotten at the next sweep:
/// most lists of addresses are like no other. Sweeps come each time the table has doubled, so their cost per value is
/// constant.
#[derive(Debug)]
pub(super) struct Pool<T: ?Sized> {
    values: HashTable<Arc<T>>,
    sweep_at: usize,
    hasher: foldhash::fast::RandomState,
}

const FIRST_SWEEP: usize = 64;

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashTable::new(), sweep_at: FIRST_SWEEP, hasher: foldhash::fast::RandomState::default() }
    }
}

impl<T: ?Sized + Eq + Hash + fmt::Debug> Pool<T> {
    /// The shared value that equals this one.
    pub(super) fn share(&mut self, value: &T) -> Arc<T>
    where
        for<'a> Arc<T>: From<&'a T>,
    {
        let hash = self.hasher.hash_one(value);
        if let Some(known) = self.values.find(hash, |known| **known == *value) {
            return Arc::clone(known);
        }
        self.sweep();
        let shared = Arc::from(value);
        let hasher = &self.hasher;
        self.values.insert_unique(hash, Arc::clone(&shared), |known| hasher.hash_one(&**known));
        shared
    }

    fn sweep(&mut self) {
        if self.values.len() < self.sweep_at {
            return;
        }
        self.values.retain(|value| Arc::strong_count(value) > 2);
        self.sweep_at = (self.values.len() * 2).max(FIRST_SWEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let mut pool = Pool::<str>::default();
        assert!(Arc::ptr_eq(&pool.share("shop"), &pool.share("shop")));
    }

    #[test]
    fn values_that_are_not_shared_are_forgotten() {
        let mut pool = Pool::<str>::default();
        let [held, _also] = [pool.share("held"), pool.share("held")];
        for n in 0..10_000 {
            pool.share(&n.to_string());
        }
        assert!(pool.values.len() <= FIRST_SWEEP);
        assert!(Arc::ptr_eq(&held, &pool.share("held")));
    }
}
