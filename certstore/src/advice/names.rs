//! The names of the samples: found by their hash, in a table of bounded size.

use super::SHARES;
use super::miniature::LIMIT;

/// The most names at a time: as many as all caches can hold, and the one that is asked for.
pub(super) const MAX_NAMES: usize = SHARES.len() * (LIMIT + 1) + 1;

/// Places of the table of hashes, about twice as many as names so that a search is short.
const PLACES: usize = (2 * MAX_NAMES).next_power_of_two();
const EMPTY: u16 = u16::MAX;

/// Keeps a name in the table while no cache holds it.
pub(super) const PIN: u8 = 0x80;

/// One name that some of the miniature caches hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Name {
    pub(super) hash: u64,
    /// Bytes of its certificate.
    pub(super) weight: u32,
    /// Which caches hold it, one bit each, and [`PIN`].
    pub(super) held: u8,
}

/// Names by number; a number is used again when no cache holds its name any more.
#[derive(Clone, Debug)]
pub(super) struct Names {
    all: Vec<Name>,
    free: Vec<u16>,
    /// Numbers at the place of their hash or after it (linear probing).
    places: Box<[u16]>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), free: Vec::new(), places: vec![EMPTY; PLACES].into_boxed_slice() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Numbers that are or were in use.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        0..u16::try_from(self.all.len()).expect("there are fewer names than that")
    }

    pub(super) fn get(&self, number: u16) -> &Name {
        &self.all[usize::from(number)]
    }

    pub(super) fn get_mut(&mut self, number: u16) -> &mut Name {
        &mut self.all[usize::from(number)]
    }

    pub(super) fn find(&self, hash: u64) -> Option<u16> {
        let mut place = home(hash);
        loop {
            match self.places[place] {
                EMPTY => return None,
                number if self.get(number).hash == hash => return Some(number),
                _ => place = (place + 1) % PLACES,
            }
        }
    }

    /// Enters a name that is not there, and pins it.
    pub(super) fn insert(&mut self, hash: u64, weight: u32) -> u16 {
        let name = Name { hash, weight, held: PIN };
        let number = if let Some(number) = self.free.pop() {
            *self.get_mut(number) = name;
            number
        } else {
            self.all.push(name);
            u16::try_from(self.all.len() - 1).expect("there are fewer names than that")
        };
        let mut place = home(hash);
        while self.places[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        self.places[place] = number;
        number
    }

    /// One less holds the name; when nobody does, it is forgotten.
    pub(super) fn release(&mut self, number: u16, bit: u8) {
        let name = self.get_mut(number);
        name.held &= !bit;
        if name.held == 0 {
            self.remove(number);
        }
    }

    /// Forgets a name, and moves those behind it to where they are found without it.
    fn remove(&mut self, number: u16) {
        let mut hole = home(self.get(number).hash);
        while self.places[hole] != number {
            hole = (hole + 1) % PLACES;
        }
        let mut place = hole;
        loop {
            place = (place + 1) % PLACES;
            let next = self.places[place];
            if next == EMPTY {
                break;
            }
            let distance = |from: usize| (place + PLACES - from) % PLACES;
            if distance(home(self.get(next).hash)) >= distance(hole) {
                self.places[hole] = next;
                hole = place;
            }
        }
        self.places[hole] = EMPTY;
        self.free.push(number);
    }

    pub(super) fn bytes(&self) -> usize {
        self.all.capacity() * size_of::<Name>() + (self.free.capacity() + PLACES) * size_of::<u16>()
    }
}

fn home(hash: u64) -> usize {
    // The upper bits say whether it is in the sample at all.
    usize::try_from(hash % PLACES as u64).expect("there are fewer places than that")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_until_they_are_removed_also_where_they_collide() {
        let mut names = Names::new();
        // Ten to each of 100 homes.
        let hashes: Vec<u64> = (0..1000).map(|n| (n % 100) + (n / 100) * PLACES as u64).collect();
        let numbers: Vec<u16> = hashes.iter().map(|&hash| names.insert(hash, 1)).collect();
        for (removed, &number) in numbers.iter().enumerate().step_by(3) {
            names.release(number, PIN);
            assert_eq!(names.find(hashes[removed]), None);
        }
        for (index, &hash) in hashes.iter().enumerate() {
            assert_eq!(names.find(hash), (index % 3 != 0).then_some(numbers[index]), "{index}");
        }
        assert_eq!(names.len(), 1000 - 334);
    }

    #[test]
    fn a_full_table_is_still_searched() {
        let mut names = Names::new();
        for hash in 0..MAX_NAMES as u64 {
            names.insert(hash * 77, 1);
        }
        assert!(names.find(77).is_some() && names.find(5).is_none());
    }
}
