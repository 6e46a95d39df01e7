//! What a cached certificate costs in bytes, as measured (`examples/weigh.rs` compares this with RSS).

use crate::details::KeyKind;

/// moka's own share: its hash table, queue node, entry and shared key, and the place in the list of expiries.
const CACHE_ENTRY: usize = 420;
/// rustls' and aws-lc's objects around one key, the private and public halves, and what the first signature adds.
const P256: usize = 750;
const P384: usize = 780;
const P521: usize = 830;
const ED25519: usize = 260;
/// An RSA key with its Montgomery contexts, which the first signature creates, and what it grows by for each further bit
/// of the modulus (a little more than measured for 3072 bits, where the allocator's steps are kind).
const RSA_2048: usize = 6_450;
const RSA_BITS: usize = 2048;
const RSA_PER_KILOBIT: usize = 2_600;

/// What is the same for all certificates of a kind: cache entry and key.
pub(crate) fn fixed(kind: KeyKind) -> usize {
    CACHE_ENTRY
        + match kind {
            KeyKind::EcdsaP256 => P256,
            KeyKind::EcdsaP384 => P384,
            KeyKind::EcdsaP521 => P521,
            KeyKind::Rsa { bits } => RSA_2048 + bits.saturating_sub(RSA_BITS) * RSA_PER_KILOBIT / 1024,
            KeyKind::Ed25519 => ED25519,
        }
}

/// What the allocator takes for `bytes`: jemalloc rounds up to multiples of 16 up to 128, then to a quarter of the
/// power of two below (jemalloc(3), "size classes").
pub(crate) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_the_allocator_does() {
        for (asked, taken) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (33, 48),
            (128, 128),
            (129, 160),
            (257, 320),
            (1000, 1024),
            (1025, 1280),
            (1793, 2048),
            (2049, 2560),
        ] {
            assert_eq!(allocated(asked), taken, "{asked}");
        }
    }
}
