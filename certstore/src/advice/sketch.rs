//! How often names were asked for lately: the sketch that moka decides with (moka 0.12, `frequency_sketch.rs`, after
//! Caffeine's), in any size.
#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the size of the table")]

/// Of moka's and Caffeine's sketch.
const SEEDS: [u64; 4] = [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f, 0xcbf2_9ce4_8422_2325];
const RESET_MASK: u64 = 0x7777_7777_7777_7777;
const ONES: u64 = 0x1111_1111_1111_1111;
/// Counts between two halvings, for each name that the sketch is made for.
const SAMPLES: u32 = 10;

/// A count-min sketch of four-bit counters which are halved from time to time (Einziger et al., "`TinyLFU`", ACM TOS 2017).
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    /// Sixteen counters each; empty until it is enabled.
    table: Vec<u64>,
    samples: u32,
    size: u32,
}

impl Sketch {
    pub(super) fn is_enabled(&self) -> bool {
        !self.table.is_empty()
    }

    /// Begins to count, for so many names.
    pub(super) fn enable(&mut self, names: u32) {
        let names = names.max(1);
        self.table = vec![0; names.next_power_of_two() as usize];
        self.samples = names.saturating_mul(SAMPLES);
        self.size = 0;
    }

    /// From now on it is for half as many names.
    pub(super) fn halve(&mut self) {
        let half = self.table.len() / 2;
        if half == 0 {
            return;
        }
        for index in 0..half {
            self.table[index] = greater(self.table[index], self.table[index + half]);
        }
        self.table.truncate(half);
        self.table.shrink_to_fit();
        self.samples = (self.samples / 2).max(1);
        self.size /= 2;
    }

    pub(super) fn frequency(&self, hash: u64) -> u64 {
        if self.table.is_empty() {
            return 0;
        }
        let start = first_counter(hash);
        let count = |depth: usize| (self.table[self.index(hash, depth)] >> ((start + depth) * 4)) & 0xf;
        (0..SEEDS.len()).map(count).min().unwrap_or(0)
    }

    pub(super) fn increment(&mut self, hash: u64) {
        if self.table.is_empty() {
            return;
        }
        let start = first_counter(hash);
        let mut added = false;
        for depth in 0..SEEDS.len() {
            let index = self.index(hash, depth);
            let shift = (start + depth) * 4;
            if (self.table[index] >> shift) & 0xf != 0xf {
                self.table[index] += 1 << shift;
                added = true;
            }
        }
        self.size += u32::from(added);
        if added && self.size >= self.samples {
            self.age();
        }
    }

    fn age(&mut self) {
        let mut odd = 0;
        for counters in &mut self.table {
            odd += (*counters & ONES).count_ones();
            *counters = (*counters >> 1) & RESET_MASK;
        }
        self.size = (self.size / 2).saturating_sub(odd / 4);
    }

    pub(super) fn bytes(&self) -> usize {
        self.table.capacity() * size_of::<u64>()
    }

    fn index(&self, hash: u64, depth: usize) -> usize {
        let hash = hash.wrapping_add(SEEDS[depth]).wrapping_mul(SEEDS[depth]);
        let hash = hash.wrapping_add(hash >> 32);
        // The table's length is a power of two.
        (hash as usize) & (self.table.len() - 1)
    }
}

/// Which four of a word's sixteen counters are the name's.
fn first_counter(hash: u64) -> usize {
    ((hash & 3) * 4) as usize
}

/// Of each pair of counters the greater one.
fn greater(one: u64, other: u64) -> u64 {
    (0..16).fold(0, |all, counter| {
        let mask = 0xf << (counter * 4);
        all | (one & mask).max(other & mask)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_halved_and_the_frequent_stay_ahead() {
        let mut sketch = Sketch::default();
        sketch.increment(7);
        assert_eq!(sketch.frequency(7), 0, "it isn't enabled");
        sketch.enable(16);
        (0..6).for_each(|_| sketch.increment(7));
        sketch.increment(8);
        assert_eq!((sketch.frequency(7), sketch.frequency(8)), (6, 1));
        sketch.age();
        assert_eq!((sketch.frequency(7), sketch.frequency(8)), (3, 0));
        (0..50).for_each(|_| sketch.increment(9));
        assert_eq!(sketch.frequency(9), 15);
    }

    #[test]
    fn a_sketch_for_half_as_many_names_knows_what_it_knew() {
        let mut sketch = Sketch::default();
        sketch.enable(1024);
        (0..5).for_each(|_| sketch.increment(0xdead_beef));
        let before = sketch.bytes();
        sketch.halve();
        assert!(sketch.frequency(0xdead_beef) >= 5 && sketch.bytes() < before);
    }
}
