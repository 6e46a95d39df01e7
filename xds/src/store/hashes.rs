//! Numbers by the hash of a name.
//!
//! A table that doubles is half empty after it has. This one grows by one bucket at a time (linear hashing: Litwin, "A New
//! Tool for File and Table Addressing", VLDB 1980), and a bucket by a few entries, so that an entry of eight bytes costs
//! about nine at any number of them.

/// Entries of a bucket, on average; a lookup compares the hashes of all of them.
const LOAD: usize = 64;

/// A bucket that is full grows by so many entries.
const STEP: usize = 8;

/// Numbers by hash. A hash may stand for several numbers.
#[derive(Debug)]
pub(crate) struct Hashes {
    /// Never empty.
    buckets: Vec<Vec<Entry>>,
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { buckets: vec![Vec::new()], len: 0 }
    }
}

impl Hashes {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The numbers of a hash, in no order.
    pub(crate) fn of(&self, hash: u32) -> impl Iterator<Item = u32> {
        let bucket = &self.buckets[bucket_of(hash, self.buckets.len())];
        bucket.iter().filter(move |entry| entry.hash == hash).map(|entry| entry.number)
    }

    /// Adds a number to a hash.
    pub(crate) fn insert(&mut self, hash: u32, number: u32) {
        let at = bucket_of(hash, self.buckets.len());
        push(&mut self.buckets[at], Entry { hash, number });
        self.len += 1;
        if self.len > self.buckets.len() * LOAD {
            self.split();
        }
    }

    /// Puts a number in the place of another. False if the hash does not have that.
    pub(crate) fn replace(&mut self, hash: u32, before: u32, number: u32) -> bool {
        let at = bucket_of(hash, self.buckets.len());
        let known = self.buckets[at].iter_mut().find(|known| **known == Entry { hash, number: before });
        known.is_some_and(|known| {
            known.number = number;
            true
        })
    }

    /// Removes a number, if the hash has it.
    pub(crate) fn remove(&mut self, hash: u32, number: u32) {
        let at = bucket_of(hash, self.buckets.len());
        let bucket = &mut self.buckets[at];
        let Some(found) = bucket.iter().position(|known| *known == Entry { hash, number }) else { return };
        bucket.swap_remove(found);
        if bucket.capacity() - bucket.len() > 2 * STEP {
            bucket.shrink_to_fit();
        }
        self.len -= 1;
        // Later than it was split, so that coming and going do not take turns at it.
        if self.buckets.len() > 1 && self.len < (self.buckets.len() - 1) * LOAD / 2 {
            self.merge();
        }
    }

    /// Adds a bucket and moves there what belongs there.
    fn split(&mut self) {
        let new = self.buckets.len();
        let is_for_new = |entry: &Entry| bucket_of(entry.hash, new + 1) == new;
        let from = &mut self.buckets[sibling(new)];
        let mut moved: Vec<Entry> = from.iter().copied().filter(is_for_new).collect();
        from.retain(|entry| !is_for_new(entry));
        from.shrink_to_fit();
        moved.shrink_to_fit();
        self.buckets.push(moved);
    }

    /// Takes the last bucket away and moves its entries back.
    fn merge(&mut self) {
        let Some(last) = self.buckets.pop() else { return };
        let to = sibling(self.buckets.len());
        self.buckets[to].reserve_exact(last.len());
        self.buckets[to].extend(last);
    }
}

fn push(bucket: &mut Vec<Entry>, entry: Entry) {
    if bucket.len() == bucket.capacity() {
        bucket.reserve_exact(STEP);
    }
    bucket.push(entry);
}

/// The bucket of a hash, of so many: the hash modulo a power of two, or the next lower one where that is too many.
fn bucket_of(hash: u32, buckets: usize) -> usize {
    let most = buckets.next_power_of_two();
    let at = hash as usize % most;
    if at < buckets { at } else { at % (most / 2) }
}

/// The bucket that the last of several was split from.
fn sibling(last: usize) -> usize {
    last - (1 << last.ilog2())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    impl Hashes {
        /// Bytes that are held.
        fn bytes(&self) -> usize {
            let entries: usize = self.buckets.iter().map(Vec::capacity).sum();
            entries * size_of::<Entry>() + self.buckets.capacity() * size_of::<Vec<Entry>>()
        }
    }

    fn filled(count: u32) -> Hashes {
        let mut random = fastrand::Rng::with_seed(3);
        let mut hashes = Hashes::default();
        (0..count).for_each(|number| hashes.insert(random.u32(..), number));
        hashes
    }

    #[test]
    fn it_holds_what_a_set_holds_after_any_changes() {
        let mut random = fastrand::Rng::with_seed(4);
        let (mut hashes, mut model) = (Hashes::default(), BTreeSet::new());
        for round in [3, 1, 3, 1] {
            for number in 0..20_000 {
                // Few hashes, so that some have several numbers.
                let hash = random.u32(..5_000).wrapping_mul(0x9e37_79b9);
                if random.u32(..4) < round {
                    if model.insert((hash, number)) {
                        hashes.insert(hash, number);
                    }
                } else if let Some(&(hash, known)) = model.range((hash, 0)..).next() {
                    if random.bool() && model.insert((hash, number)) {
                        assert!(hashes.replace(hash, known, number));
                    } else {
                        hashes.remove(hash, known);
                    }
                    model.remove(&(hash, known));
                }
                assert_eq!(hashes.len(), model.len());
            }
            for (hash, number) in &model {
                assert!(hashes.of(*hash).any(|known| known == *number));
            }
        }
        assert!(!hashes.replace(1, 2, 3));
        hashes.remove(1, 2);
        for (hash, number) in model {
            hashes.remove(hash, number);
        }
        assert_eq!((hashes.len(), hashes.buckets.len()), (0, 1));
    }

    #[test]
    fn an_entry_costs_about_nine_bytes_at_any_number() {
        for count in [1_000, 4_000, 5_000, 20_000, 36_000, 65_000, 100_000] {
            let each = filled(count).bytes() as f64 / f64::from(count);
            assert!(each < 9.7, "{each} bytes of each of {count}");
        }
    }

    #[test]
    fn buckets_stay_small() {
        let longest = filled(50_000).buckets.iter().map(Vec::len).max();
        assert!(longest < Some(4 * LOAD), "{longest:?}");
    }
}
