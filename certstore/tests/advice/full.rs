//! Full caches of all sizes: moka's, used as the store uses them.

use certstore::advice::SHARES;
use foldhash::quality::FixedState;

type Cache = moka::sync::Cache<usize, (), FixedState>;

/// [`SHARES`] in whole numbers.
const EIGHTHS: [u64; SHARES.len()] = [1, 2, 4, 8, 16, 32, 64];

/// Bytes of a name's certificate: 2,000 to 6,000, the same each time.
pub(crate) fn weight(name: usize) -> u64 {
    2_000 + (name as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 4_001
}

/// One cache for each share of a budget.
pub(crate) struct Full {
    caches: Vec<Cache>,
    found: [u64; SHARES.len()],
    references: u64,
}

impl Full {
    pub(crate) fn new(budget: u64) -> Self {
        let cache = |eighths: u64| {
            moka::sync::Cache::builder()
                .max_capacity(budget * eighths / 8)
                .weigher(|&name, &()| u32::try_from(weight(name)).expect("a few thousand"))
                .build_with_hasher(FixedState::with_seed(1))
        };
        Self { caches: EIGHTHS.map(cache).into(), found: [0; SHARES.len()], references: 0 }
    }

    /// Asks all for a name; true if the one of the present budget has it.
    pub(crate) fn refer(&mut self, name: usize) -> bool {
        self.references += 1;
        let mut is_there = false;
        for (position, cache) in self.caches.iter().enumerate() {
            if cache.get(&name).is_some() {
                self.found[position] += 1;
                is_there |= position == 3;
            } else {
                cache.insert(name, ());
                cache.run_pending_tasks();
            }
        }
        is_there
    }

    /// How often the one of the present budget had it.
    pub(crate) fn found(&self) -> u64 {
        self.found[3]
    }

    pub(crate) fn hit_ratios(&self) -> Vec<f64> {
        self.found.iter().map(|found| *found as f64 / self.references as f64).collect()
    }
}
