//! The reading of one file without a file system, for the fuzz target and the property test.

use foldhash::fast::FixedState;

use super::document::{self, Found, Text};
use super::split::split;

/// What is in a text: objects, broken or unreadable things, and things passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that were read.
    pub objects: usize,
    /// What could not be read.
    pub faults: usize,
    /// Objects of other kinds.
    pub passed_over: usize,
}

/// Reads bytes as a file of manifests.
///
/// # Panics
/// If the documents overlap or do not lie in the text: that is what is being looked for.
pub fn read_manifest(bytes: &[u8], json: bool) -> Tally {
    let mut tally = Tally::default();
    let Ok(text) = std::str::from_utf8(bytes) else { return tally };
    let mut count = |found| match found {
        Found::Object { .. } => tally.objects += 1,
        Found::Broken { .. } | Found::Unreadable(_) => tally.faults += 1,
        Found::PassedOver { .. } => tally.passed_over += 1,
    };
    if json {
        document::read(Text { text, json }, &FixedState::default(), &mut count);
        return tally;
    }
    let mut end = 0;
    for part in split(text) {
        assert!(end <= part.range.start && part.range.end <= text.len(), "documents overlap");
        end = part.range.end;
        if !part.blank {
            document::read(Text { text: &text[part.range], json }, &FixedState::default(), &mut count);
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [(&str, bool); 3] = [
        (include_str!("../../../fuzz/seeds/manifest/documents.yaml"), false),
        (include_str!("../../../fuzz/seeds/manifest/list.yaml"), false),
        (include_str!("../../../fuzz/seeds/manifest/object.json"), true),
    ];

    #[test]
    fn the_seeds_are_read_without_a_fault() {
        let expected = [3, 2, 1];
        for ((seed, json), objects) in SEEDS.into_iter().zip(expected) {
            let tally = read_manifest(seed.as_bytes(), json);
            assert_eq!(tally, Tally { objects, ..Tally::default() }, "{seed}");
        }
    }

    #[test]
    fn no_mutation_of_a_manifest_panics() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..3000 {
            let (seed, json) = SEEDS[round % SEEDS.len()];
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..random.usize(1..6) {
                mutate(&mut bytes, &mut random);
            }
            read_manifest(&bytes, json);
        }
    }

    /// Cuts, doubles or overwrites a stretch.
    fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
        let from = random.usize(0..=bytes.len());
        let to = (from + random.usize(0..20)).min(bytes.len());
        match random.u8(0..4) {
            0 => drop(bytes.drain(from..to)),
            1 => bytes.extend_from_within(from..to),
            2 => bytes.truncate(to),
            _ => bytes[from..to].fill_with(|| *random.choice(b"\n -:{}[]&*!|>'\"%#a0").unwrap_or(&b'-')),
        }
    }
}
