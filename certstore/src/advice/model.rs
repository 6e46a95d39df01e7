//! The miniature caches of all sizes, over nested samples of names.

use super::miniature::Miniature;
use super::names::{Names, PIN};
use super::{PRESENT, SHARES, share, simulated_as};
use crate::store::capacity;

/// Simulates caches of [`SHARES`] of a budget, each on as many names as it can take.
#[derive(Debug)]
pub(super) struct Model {
    budget: u64,
    headroom: u64,
    names: Names,
    caches: [Miniature; SHARES.len()],
    /// Misses of all names, as estimated from the samples.
    misses: [f64; SHARES.len()],
    /// References that were simulated.
    references: f64,
}

impl Model {
    /// `headroom` as for [`capacity`].
    pub(super) fn new(budget: u64, headroom: u64) -> Self {
        let full = |position| capacity(share(position, budget), headroom);
        let caches = std::array::from_fn(|position| Miniature::new(position, full(position)));
        Self { budget, headroom, names: Names::new(), caches, misses: [0.0; SHARES.len()], references: 0.0 }
    }

    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// The share of all names on which the present budget is simulated.
    pub(super) fn rate(&self) -> f64 {
        self.caches[PRESENT].rate()
    }

    /// The greatest hash of any sample.
    pub(super) fn threshold(&self) -> u64 {
        self.caches.iter().map(Miniature::threshold).max().unwrap_or(u64::MAX)
    }

    /// Estimated misses of the cache in this position.
    pub(super) fn misses(&self, position: usize) -> f64 {
        self.misses[position]
    }

    pub(super) fn references(&self) -> f64 {
        self.references
    }

    /// A name of a sample is asked for, whose certificate has this weight.
    pub(super) fn refer(&mut self, hash: u64, weight: u32) {
        let number = self.find(hash, weight);
        self.references += 1.0;
        for (cache, misses) in self.caches.iter_mut().zip(&mut self.misses) {
            if hash <= cache.threshold() {
                // As it was when the name was looked for.
                let each = 1.0 / cache.rate();
                if !cache.refer(number, &mut self.names) {
                    *misses += each;
                }
            }
        }
        self.names.release(number, PIN);
    }

    /// The name is gone: no cache holds it any more.
    pub(super) fn remove(&mut self, hash: u64) {
        let Some(number) = self.names.find(hash) else { return };
        self.names.get_mut(number).held |= PIN;
        for cache in &mut self.caches {
            cache.remove(number, &mut self.names);
        }
        self.names.release(number, PIN);
    }

    /// All that was counted so far counts less from now on.
    pub(super) fn fade(&mut self, factor: f64) {
        self.misses.iter_mut().for_each(|misses| *misses *= factor);
        self.references *= factor;
    }

    /// Simulates shares of another budget from now on; caches of a size that was simulated already are kept as they are,
    /// with what they have missed.
    pub(super) fn set_budget(&mut self, budget: u64) {
        let before = std::mem::replace(&mut self.budget, budget);
        let misses = std::mem::take(&mut self.misses);
        self.misses = std::array::from_fn(|position| {
            simulated_as(position, budget, before).map_or(0.0, |earlier| misses[earlier])
        });
        for number in self.names.numbers() {
            let name = self.names.get_mut(number);
            name.held = if name.held == 0 { 0 } else { PIN };
        }
        self.caches = std::array::from_fn(|position| {
            let full = capacity(share(position, budget), self.headroom);
            let largest = &self.caches[SHARES.len() - 1];
            let source = self.caches.iter().find(|cache| cache.full() >= full).unwrap_or(largest);
            Miniature::resized(source, position, full, &mut self.names)
        });
        for number in self.names.numbers() {
            if self.names.get(number).held != 0 {
                self.names.release(number, PIN);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.names.bytes() + self.caches.iter().map(Miniature::bytes).sum::<usize>()
    }

    /// The name's number, pinned.
    fn find(&mut self, hash: u64, weight: u32) -> u16 {
        let Some(number) = self.names.find(hash) else { return self.names.insert(hash, weight) };
        let name = self.names.get_mut(number);
        name.held |= PIN;
        let before = std::mem::replace(&mut name.weight, weight);
        if before != weight {
            for cache in &mut self.caches {
                cache.reweigh(number, before, &mut self.names);
            }
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(name: u64) -> u64 {
        (name + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn a_cache_that_holds_everything_misses_each_name_once() {
        let mut model = Model::new(1_000_000, 0);
        (0..1000).for_each(|count| model.refer(hash(count % 200), 1000));
        assert!((model.misses(3) - 200.0).abs() < 1e-9, "{}", model.misses(3));
        assert!((model.references() - 1000.0).abs() < 1e-9);
        assert!(model.misses(0) > 300.0, "an eighth holds too few of them");
    }

    #[test]
    fn a_removed_name_is_missed_again() {
        let mut model = Model::new(1_000_000, 0);
        model.refer(hash(1), 1000);
        model.remove(hash(1));
        assert_eq!(model.names.len(), 0);
        model.refer(hash(1), 1000);
        assert!((model.misses(6) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_state_stays_under_a_mebibyte_whatever_is_asked_for() {
        for budget in [1_000, 1_000_000, 1_000_000_000] {
            let mut model = Model::new(budget, 0);
            (0..200_000).for_each(|name| model.refer(hash(name), 1000 + (name % 100) as u32));
            assert!(model.bytes() < 1024 * 1024, "{} bytes for a budget of {budget}", model.bytes());
        }
    }

    #[test]
    fn a_new_budget_keeps_what_caches_of_its_sizes_held() {
        let mut model = Model::new(100_000, 0);
        (0..2000).for_each(|count| model.refer(hash(count % 300), 1000));
        let before = model.misses(6);
        model.set_budget(200_000);
        (0..300).for_each(|name| model.refer(hash(name), 1000));
        // Four times 200,000 held all of them as eight times 100,000 did.
        assert!((model.misses(5) - before).abs() < 0.5, "{}, {before} before", model.misses(5));
        model.set_budget(1000);
        assert!((1..=8).contains(&model.names.len()), "{}", model.names.len());
    }

    #[test]
    fn a_weight_that_changes_is_taken_into_account() {
        let mut model = Model::new(10_000, 0);
        (0..10).for_each(|name| model.refer(hash(name), 1000));
        (0..10).for_each(|name| model.refer(hash(name), 5000));
        assert_eq!(model.names.len(), 10, "eight times the budget holds them all");
        (0..10).for_each(|name| model.refer(hash(name), 50_000));
        assert!(model.names.len() <= 1, "{}", model.names.len());
    }
}
