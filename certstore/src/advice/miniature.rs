//! One miniature cache: moka's policy over the names of the sample.

use super::names::Names;
use super::sketch::Sketch;

/// The most names that a cache holds: when it would hold more, it goes on with half of its sample.
pub(super) const LIMIT: usize = 2048;

const NONE: u16 = u16::MAX;
/// moka makes its sketch for no fewer names.
const SKETCH_LEAST: u32 = 128;

/// A cache that holds numbers of names instead of certificates.
///
/// Only names of its sample are asked of it: at first all, later those whose hash is at most
/// [`threshold`](Self::threshold). It is as much smaller than the cache that it stands for.
///
/// It decides as moka 0.12 does with its policy `TinyLfu`: names lie in the order of their last use; where there is no room
/// for a new one, it takes the place of those longest unused, if it was asked for more often lately than all of them
/// together.
#[derive(Clone, Debug)]
pub(super) struct Miniature {
    /// Its bit in [`Name::held`](super::names::Name::held).
    bit: u8,
    /// What the cache that it stands for may hold.
    full: u64,
    /// How often its sample was halved.
    halvings: u32,
    capacity: u64,
    used: u64,
    count: u32,
    /// Neighbours by number, in the order of last use.
    links: Vec<Link>,
    oldest: u16,
    newest: u16,
    sketch: Sketch,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u16,
    newer: u16,
}

impl Miniature {
    /// Stands for a cache of this capacity; `position` tells it from the others.
    pub(super) fn new(position: usize, full: u64) -> Self {
        Self {
            bit: 1 << position,
            full,
            halvings: 0,
            capacity: full,
            used: 0,
            count: 0,
            links: Vec::new(),
            oldest: NONE,
            newest: NONE,
            sketch: Sketch::default(),
        }
    }

    /// A copy of `other` in another position and size; what doesn't fit leaves, longest unused first. An empty one, if
    /// too few names would stay.
    pub(super) fn resized(other: &Self, position: usize, full: u64, names: &mut Names) -> Self {
        let capacity = (full >> other.halvings).max(1);
        let mut copy = Self { bit: 1 << position, full, capacity, ..other.clone() };
        let mut number = copy.oldest;
        while number != NONE {
            names.get_mut(number).held |= copy.bit;
            number = copy.links[usize::from(number)].newer;
        }
        copy.fit(names);
        if copy.halvings > 0 && (copy.count as usize) < LIMIT / 8 {
            copy.capacity = 0;
            copy.fit(names);
            return Self::new(position, full);
        }
        copy
    }

    /// What the cache that it stands for may hold.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// The share of all names that is in its sample.
    pub(super) fn rate(&self) -> f64 {
        0.5_f64.powi(self.halvings.cast_signed())
    }

    /// The greatest hash of its sample.
    pub(super) fn threshold(&self) -> u64 {
        u64::MAX >> self.halvings
    }

    fn holds(&self, number: u16, names: &Names) -> bool {
        names.get(number).held & self.bit != 0
    }

    /// A name of the sample is asked for; true if it is held.
    pub(super) fn refer(&mut self, number: u16, names: &mut Names) -> bool {
        self.sketch.increment(names.get(number).hash);
        let found = self.holds(number, names);
        if found {
            self.unlink(number);
            self.push(number);
        } else {
            self.offer(number, names);
        }
        if !self.sketch.is_enabled() && self.used >= self.capacity / 2 {
            self.enable_sketch();
        }
        if self.count as usize > LIMIT {
            self.halve(names);
        }
        found
    }

    /// Takes the name out, if it is held.
    pub(super) fn remove(&mut self, number: u16, names: &mut Names) {
        if self.holds(number, names) {
            self.unlink(number);
            self.used -= u64::from(names.get(number).weight);
            self.count -= 1;
            names.release(number, self.bit);
        }
    }

    /// The name's weight has changed by this much; what doesn't fit any more leaves.
    pub(super) fn reweigh(&mut self, number: u16, before: u32, names: &mut Names) {
        if self.holds(number, names) {
            self.used = self.used - u64::from(before) + u64::from(names.get(number).weight);
            self.fit(names);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.links.capacity() * size_of::<Link>() + self.sketch.bytes()
    }

    /// From now on the sample has half as many names.
    fn halve(&mut self, names: &mut Names) {
        self.halvings += 1;
        self.capacity = (self.full >> self.halvings).max(1);
        self.sketch.halve();
        for number in names.numbers() {
            if names.get(number).hash > self.threshold() {
                self.remove(number, names);
            }
        }
        self.fit(names);
    }

    fn fit(&mut self, names: &mut Names) {
        while self.used > self.capacity && self.oldest != NONE {
            self.remove(self.oldest, names);
        }
    }

    /// moka asks its sketch whether a new name is worth those that would have to leave for it.
    fn offer(&mut self, number: u16, names: &mut Names) {
        let weight = u64::from(names.get(number).weight);
        if self.used + weight > self.capacity {
            if weight > self.capacity {
                return;
            }
            let wanted = self.sketch.frequency(names.get(number).hash);
            let (mut freed, mut worth, mut victims, mut next) = (0, 0, 0, self.oldest);
            while freed < weight && worth <= wanted && next != NONE {
                let victim = names.get(next);
                freed += u64::from(victim.weight);
                worth += self.sketch.frequency(victim.hash);
                victims += 1;
                next = self.links[usize::from(next)].newer;
            }
            if freed < weight || wanted <= worth {
                return;
            }
            for _ in 0..victims {
                self.remove(self.oldest, names);
            }
        }
        self.used += weight;
        self.count += 1;
        names.get_mut(number).held |= self.bit;
        self.push(number);
    }

    /// moka begins to count when it is half full, for as many names as are there then, times how full it is.
    fn enable_sketch(&mut self) {
        let names = u64::from(self.count) * self.used / self.capacity;
        let least = SKETCH_LEAST.checked_shr(self.halvings).unwrap_or(0);
        self.sketch.enable(u32::try_from(names).unwrap_or(u32::MAX).max(least));
    }

    fn push(&mut self, number: u16) {
        let at = usize::from(number);
        if self.links.len() <= at {
            self.links.resize(at + 1, Link { older: NONE, newer: NONE });
        }
        self.links[at] = Link { older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = number,
            newest => self.links[usize::from(newest)].newer = number,
        }
        self.newest = number;
    }

    fn unlink(&mut self, number: u16) {
        let Link { older, newer } = self.links[usize::from(number)];
        match older {
            NONE => self.oldest = newer,
            older => self.links[usize::from(older)].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[usize::from(newer)].older = older,
        }
    }
}
