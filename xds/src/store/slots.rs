//! Values of one type, each found by a number that stays the same while it is kept.

/// Values in one chunk.
const CHUNK: usize = 256;

/// The end of a chunk's chain of free slots.
const NONE: u16 = u16::MAX;

/// Values by number. Numbers of removed values are used again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks with room, each once.
    open: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Slot<T>>,
    /// The first of the free slots, which are chained.
    free: u16,
    used: u16,
}

#[derive(Debug)]
enum Slot<T> {
    Free(u16),
    Used(T),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), open: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Keeps a value. Returns its number.
    ///
    /// # Panics
    /// With more than 2^32 values, for which there is no memory.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let at = self.open.last().copied().unwrap_or_else(|| {
            let at = u32::try_from(self.chunks.len()).expect("fewer than 2^32 values are in memory");
            self.chunks.push(Chunk::default());
            self.open.push(at);
            at
        });
        let chunk = &mut self.chunks[at as usize];
        let slot = chunk.insert(value);
        if chunk.is_full() {
            self.open.pop();
        }
        self.len += 1;
        number(at, slot)
    }

    /// The value of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, slot) = place(number);
        match self.chunks.get(chunk)?.slots.get(slot)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// The value of a number, to change it.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (chunk, slot) = place(number);
        match self.chunks.get_mut(chunk)?.slots.get_mut(slot)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Forgets a value and returns it.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (at, slot) = place(number);
        let chunk = self.chunks.get_mut(at)?;
        let was_full = chunk.is_full();
        let value = chunk.remove(slot)?;
        if was_full {
            // There was a chunk of this number, so it fits.
            self.open.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        self.len -= 1;
        Some(value)
    }

    /// Values that there is memory for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.slots.capacity()).sum()
    }
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, used: 0 }
    }
}

impl<T> Chunk<T> {
    fn is_full(&self) -> bool {
        usize::from(self.used) == CHUNK
    }

    fn insert(&mut self, value: T) -> usize {
        self.used += 1;
        let at = usize::from(self.free);
        if let Some(slot) = self.slots.get_mut(at) {
            if let Slot::Free(next) = *slot {
                self.free = next;
            }
            *slot = Slot::Used(value);
            return at;
        }
        self.slots.push(Slot::Used(value));
        self.slots.len() - 1
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let slot = self.slots.get_mut(at).filter(|slot| matches!(slot, Slot::Used(_)))?;
        let Slot::Used(value) = std::mem::replace(slot, Slot::Free(self.free)) else { return None };
        self.free = u16::try_from(at).unwrap_or(NONE);
        self.used -= 1;
        if self.used == 0 {
            *self = Self::default();
        }
        Some(value)
    }
}

fn place(number: u32) -> (usize, usize) {
    (number as usize / CHUNK, number as usize % CHUNK)
}

fn number(chunk: u32, slot: usize) -> u32 {
    let number = chunk as usize * CHUNK + slot;
    u32::try_from(number).expect("fewer than 2^32 values are in memory")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_after_any_changes() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut slots, mut model) = (Slots::default(), HashMap::new());
        for step in 0..30_000_u32 {
            if random.u32(..30_000) > step {
                let number = slots.insert(step);
                assert_eq!(model.insert(number, step), None, "{number} is in use");
            } else {
                let number = random.u32(..5_000);
                assert_eq!(slots.remove(number), model.remove(&number));
            }
            assert_eq!(slots.len(), model.len());
        }
        assert!(model.iter().all(|(number, value)| slots.get(*number) == Some(value)));
        assert!((0..20_000).all(|number| slots.get(number).is_some() == model.contains_key(&number)));
    }

    #[test]
    fn room_of_removed_values_is_used_again() {
        let mut slots = Slots::default();
        let numbers: Vec<u32> = (0..10_000).map(|n| slots.insert(n)).collect();
        let capacity = slots.capacity();
        for round in 0..5 {
            for number in numbers.iter().skip(round).step_by(2) {
                slots.remove(*number);
            }
            while slots.len() < 10_000 {
                slots.insert(0);
            }
            assert_eq!(slots.capacity(), capacity);
        }
    }

    #[test]
    fn what_has_been_emptied_holds_nothing() {
        let mut slots = Slots::default();
        let numbers: Vec<u32> = (0..10_000).map(|n| slots.insert(n)).collect();
        for number in numbers {
            slots.remove(number);
        }
        assert_eq!((slots.len(), slots.capacity()), (0, 0));
    }

    #[test]
    fn little_is_left_empty() {
        let mut slots = Slots::default();
        for n in 0..10_001_u32 {
            slots.insert(n);
        }
        assert!(slots.capacity() <= 10_001 + CHUNK);
    }
}
