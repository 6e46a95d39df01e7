//! Texts of bytes of any length, each found by a number.
//!
//! A text of at most 255 bytes stands in a cell of eight bytes or a multiple of that, one of which is its length; cells
//! of one size fill pages. So a text of 50 bytes takes 56, and four for its number, where an allocation of its own
//! takes 64, and sixteen for its address and length. Longer texts are rare, and are allocated.

use std::num::NonZeroU32;

use super::Slots;

/// Sizes of cells go up by this.
const STEP: usize = 8;

/// Sizes of cells that there are.
const CLASSES: usize = LARGE as usize;

/// The class of texts that are allocated.
const LARGE: u32 = 32;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Bits of a number that count cells of one class; the others are the class.
const INDEX_BITS: u32 = 26;

/// The end of a page's chain of free cells.
const NONE: u16 = u16::MAX;

/// The number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PackId(NonZeroU32);

/// Texts by number. Numbers of removed texts are used again.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    classes: [Class; CLASSES],
    large: Slots<Box<[u8]>>,
    len: usize,
}

/// Cells of one size.
#[derive(Debug, Default)]
struct Class {
    pages: Vec<Page>,
    /// The pages with room, each once.
    open: Vec<u32>,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    /// The first of the free cells, which are chained.
    free: u16,
    used: u16,
}

impl Packs {
    /// How many texts there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Keeps a text.
    ///
    /// # Panics
    /// With more than 2^26 texts of about one length, for which there is hardly memory.
    pub(crate) fn insert(&mut self, text: &[u8]) -> PackId {
        self.len += 1;
        let Some(class) = class_of(text) else { return id(LARGE, self.large.insert(text.into()) as usize) };
        let cell = size(class);
        id(class, self.classes[class as usize].insert(cell, text))
    }

    /// The text of a number; an empty one if there is none.
    pub(crate) fn get(&self, id: PackId) -> &[u8] {
        let (class, index) = parts(id);
        let Some(known) = self.classes.get(class as usize) else {
            return self.large.get(index).map_or(&[], |text| text);
        };
        let cell = known.cell(size(class), index);
        let length = usize::from(cell.first().copied().unwrap_or(0));
        cell.get(1..=length).unwrap_or_default()
    }

    /// Forgets a text that is kept.
    pub(crate) fn remove(&mut self, id: PackId) {
        self.len -= 1;
        let (class, index) = parts(id);
        match self.classes.get_mut(class as usize) {
            Some(known) => known.remove(size(class), index),
            None => drop(self.large.remove(index)),
        }
    }

    /// Keeps a text in place of another; under the same number if it is about as long.
    pub(crate) fn replace(&mut self, before: PackId, text: &[u8]) -> PackId {
        let (class, index) = parts(before);
        if class_of(text) == Some(class)
            && let Some(known) = self.classes.get_mut(class as usize)
        {
            known.write(size(class), index as usize, text);
            return before;
        }
        self.remove(before);
        self.insert(text)
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let pages = self.classes.iter().flat_map(|class| &class.pages);
        pages.map(|page| page.bytes.capacity()).sum::<usize>() + self.large.capacity() * size_of::<Box<[u8]>>()
    }
}

impl Class {
    fn insert(&mut self, cell: usize, text: &[u8]) -> usize {
        let per_page = PAGE / cell;
        let at = self.open.last().copied().unwrap_or_else(|| {
            let at = u32::try_from(self.pages.len()).expect("fewer than 2^26 texts are in memory");
            self.pages.push(Page::default());
            self.open.push(at);
            at
        }) as usize;
        let page = &mut self.pages[at];
        let slot = page.take(cell);
        if usize::from(page.used) == per_page {
            self.open.pop();
        }
        let index = at * per_page + slot;
        self.write(cell, index, text);
        index
    }

    fn write(&mut self, cell: usize, index: usize, text: &[u8]) {
        let (page, start) = place(cell, index);
        if let Some((first, rest)) = self.pages[page].bytes[start..start + cell].split_first_mut() {
            // A cell has at most 255 bytes besides this one.
            *first = u8::try_from(text.len()).unwrap_or(u8::MAX);
            rest[..text.len()].copy_from_slice(text);
        }
    }

    fn cell(&self, cell: usize, index: u32) -> &[u8] {
        let (page, start) = place(cell, index as usize);
        self.pages.get(page).and_then(|page| page.bytes.get(start..start + cell)).unwrap_or_default()
    }

    fn remove(&mut self, cell: usize, index: u32) {
        let (at, start) = place(cell, index as usize);
        let page = &mut self.pages[at];
        if usize::from(page.used) == PAGE / cell {
            // There was a page of this number, so it fits.
            self.open.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        page.give_back(cell, start);
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { bytes: Vec::new(), free: NONE, used: 0 }
    }
}

impl Page {
    /// Yields the place of a free cell.
    fn take(&mut self, cell: usize) -> usize {
        self.used += 1;
        if self.free == NONE {
            let slot = self.bytes.len() / cell;
            if self.bytes.capacity() < self.bytes.len() + cell {
                // Small while there is little, whole pages from then on.
                let more = self.bytes.len().clamp(cell, PAGE - PAGE % cell - self.bytes.len());
                self.bytes.reserve_exact(more);
            }
            self.bytes.resize(self.bytes.len() + cell, 0);
            return slot;
        }
        let slot = usize::from(self.free);
        let start = slot * cell;
        self.free = u16::from_le_bytes([self.bytes[start], self.bytes[start + 1]]);
        slot
    }

    fn give_back(&mut self, cell: usize, start: usize) {
        self.used -= 1;
        if self.used == 0 {
            *self = Self::default();
            return;
        }
        self.bytes[start..start + 2].copy_from_slice(&self.free.to_le_bytes());
        // A page has at most 512 cells.
        self.free = u16::try_from(start / cell).unwrap_or(NONE);
    }
}

/// The class of cells that a text fits into, with its length; `None` if it is allocated.
fn class_of(text: &[u8]) -> Option<u32> {
    let class = text.len() / STEP;
    (text.len() < CLASSES * STEP).then(|| u32::try_from(class).unwrap_or(LARGE))
}

fn size(class: u32) -> usize {
    (class as usize + 1) * STEP
}

/// The page of a cell, and where it begins in it.
fn place(cell: usize, index: usize) -> (usize, usize) {
    let per_page = PAGE / cell;
    (index / per_page, index % per_page * cell)
}

fn id(class: u32, index: usize) -> PackId {
    let index = u32::try_from(index).ok().filter(|index| *index < 1 << INDEX_BITS);
    let index = index.expect("fewer than 2^26 texts of about one length are in memory");
    PackId(NonZeroU32::MIN.saturating_add(class << INDEX_BITS | index))
}

fn parts(PackId(id): PackId) -> (u32, u32) {
    let id = id.get() - 1;
    (id >> INDEX_BITS, id & ((1 << INDEX_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn random_text(random: &mut fastrand::Rng) -> Vec<u8> {
        let longest = if random.u8(..20) == 0 { 2_000 } else { 90 };
        (0..random.usize(..longest)).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn it_holds_what_a_map_holds_after_any_changes() {
        let mut random = fastrand::Rng::with_seed(2);
        let (mut packs, mut model) = (Packs::default(), HashMap::<PackId, Vec<u8>>::new());
        for step in 0..30_000 {
            let text = random_text(&mut random);
            let known = random.choice(model.keys().take(7).copied().collect::<Vec<_>>());
            match (random.u8(..3), known) {
                (0, Some(known)) => {
                    model.remove(&known);
                    let now = packs.replace(known, &text);
                    assert_eq!(model.insert(now, text), None);
                }
                (1, Some(known)) if random.u32(..30_000) < step => {
                    model.remove(&known);
                    packs.remove(known);
                }
                _ => assert_eq!(model.insert(packs.insert(&text), text), None, "a number in use is given again"),
            }
            assert_eq!(packs.len(), model.len());
        }
        assert!(model.iter().all(|(id, text)| packs.get(*id) == text));
    }

    #[test]
    fn texts_of_every_length_are_kept_whole() {
        let mut packs = Packs::default();
        let texts: Vec<Vec<u8>> = (0..600).map(|length| vec![u8::try_from(length % 251).unwrap(); length]).collect();
        let ids: Vec<PackId> = texts.iter().map(|text| packs.insert(text)).collect();
        assert!(ids.iter().zip(&texts).all(|(id, text)| packs.get(*id) == text));
    }

    #[test]
    fn a_text_costs_its_length_and_less_than_a_cell() {
        let mut packs = Packs::default();
        for _ in 0..10_000 {
            packs.insert(&[7; 50]);
        }
        assert!(packs.bytes() < 10_000 * 57, "{}", packs.bytes());
    }

    #[test]
    fn what_has_been_emptied_holds_nothing() {
        let mut packs = Packs::default();
        for round in 1..5 {
            let ids: Vec<PackId> = (0..2_000).map(|n| packs.insert(&vec![1; n % 300 * round % 400])).collect();
            for id in ids {
                packs.remove(id);
            }
            assert_eq!((packs.len(), packs.bytes()), (0, 0));
        }
    }
}
