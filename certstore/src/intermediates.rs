//! Intermediates that many chains share are held once.
//!
//! rustls wants a chain as `Vec<CertificateDer<'static>>`, and a `CertificateDer` either owns its bytes or borrows them
//! for `'static`; there is no reference count in between. So what is shared has to stay for good, and what stays for
//! good has to be bounded: an intermediate moves into this pool once chains of [`SIGHTINGS`] different Secrets had it,
//! and the pool takes at most [`MAX_POOLED`] certificates and [`MAX_POOLED_BYTES`] bytes for the life of the process.
//! When it is full, chains own their intermediates again and are weighed accordingly: the budget holds either way.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{LazyLock, Mutex, PoisonError};

use rustls_pki_types::CertificateDer;

use crate::details::sha256;
use crate::secret::SecretRef;

/// Different Secrets that must have brought an intermediate before it is pooled.
const SIGHTINGS: u8 = 3;
/// A cluster has a handful of issuers, and each changes its intermediate once in years.
const MAX_POOLED: usize = 64;
const MAX_POOLED_BYTES: usize = 128 * 1024;
/// Intermediates that are being counted. When there are more, counting starts over.
const MAX_CANDIDATES: usize = 256;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

/// `chain` with the intermediates that are pooled borrowed, the others owned without slack.
pub(crate) fn share(chain: Vec<CertificateDer<'static>>, secret: &SecretRef) -> Vec<CertificateDer<'static>> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    chain
        .into_iter()
        .enumerate()
        .map(|(index, der)| match index {
            0 => owned(&der),
            _ => pool.share(&der, secret),
        })
        .collect()
}

/// The same chain in memory of its own, but for what is pooled.
pub(crate) fn copy(chain: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    // A clone of what is borrowed is borrowed as well.
    chain.iter().map(|der| if pool.is_pooled(der) { der.clone() } else { owned(der) }).collect()
}

/// Bytes of `der` that its chain alone pays for.
pub(crate) fn own_bytes(der: &CertificateDer<'static>) -> usize {
    let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.is_pooled(der) { 0 } else { der.len() }
}

/// Bytes that the pool holds, for all stores of the process.
pub(crate) fn pooled_bytes() -> usize {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).bytes
}

/// A copy without the slack that base64 decoding leaves.
fn owned(der: &CertificateDer<'_>) -> CertificateDer<'static> {
    CertificateDer::from(der.to_vec())
}

#[derive(Default)]
struct Pool {
    pooled: HashMap<[u8; 32], &'static [u8], foldhash::fast::RandomState>,
    candidates: HashMap<[u8; 32], Candidate, foldhash::fast::RandomState>,
    bytes: usize,
}

struct Candidate {
    sightings: u8,
    /// Hash of the Secret that had it last: a Secret that changes often counts once.
    last: u64,
}

impl Pool {
    fn share(&mut self, der: &CertificateDer<'_>, secret: &SecretRef) -> CertificateDer<'static> {
        let digest = sha256(der);
        if let Some(shared) = self.pooled.get(&digest) {
            return CertificateDer::from(*shared);
        }
        if !self.is_frequent(digest, secret) || !self.has_room(der.len()) {
            return owned(der);
        }
        let shared: &'static [u8] = Vec::leak(der.to_vec());
        self.candidates.remove(&digest);
        self.pooled.insert(digest, shared);
        self.bytes += shared.len();
        CertificateDer::from(shared)
    }

    fn is_frequent(&mut self, digest: [u8; 32], secret: &SecretRef) -> bool {
        if self.candidates.len() >= MAX_CANDIDATES && !self.candidates.contains_key(&digest) {
            self.candidates.clear();
        }
        let last = self.candidates.hasher().hash_one(secret);
        let candidate = self.candidates.entry(digest).or_insert(Candidate { sightings: 0, last: !last });
        if candidate.last != last {
            candidate.last = last;
            candidate.sightings = candidate.sightings.saturating_add(1);
        }
        candidate.sightings >= SIGHTINGS
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.pooled.len() < MAX_POOLED && self.bytes + bytes <= MAX_POOLED_BYTES
    }

    /// True when `der` borrows the pool's bytes, not merely equals them.
    fn is_pooled(&self, der: &CertificateDer<'_>) -> bool {
        self.pooled.get(&sha256(der)).is_some_and(|shared| std::ptr::eq(shared.as_ptr(), der.as_ptr()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(byte: u8, length: usize) -> CertificateDer<'static> {
        CertificateDer::from(vec![byte; length])
    }

    fn secret(number: usize) -> SecretRef {
        SecretRef::new("shop", number.to_string())
    }

    #[test]
    fn an_intermediate_of_three_secrets_is_held_once() {
        let mut pool = Pool::default();
        let copies: Vec<_> = (0..5).map(|number| pool.share(&der(1, 1000), &secret(number))).collect();
        assert_eq!(
            copies.iter().map(|copy| pool.is_pooled(copy)).collect::<Vec<_>>(),
            [false, false, true, true, true]
        );
        assert_eq!(copies[3].as_ptr(), copies[4].as_ptr());
        assert_eq!(pool.bytes, 1000);
    }

    #[test]
    fn one_secret_that_changes_often_does_not_fill_the_pool() {
        let mut pool = Pool::default();
        for _ in 0..10 {
            pool.share(&der(2, 100), &secret(0));
        }
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn the_pool_stops_at_its_bounds_and_chains_own_their_bytes_then() {
        let mut pool = Pool::default();
        for byte in 0..200 {
            for number in 0..4 {
                pool.share(&der(byte, 1024), &secret(number));
            }
        }
        assert_eq!((pool.pooled.len(), pool.bytes), (MAX_POOLED, MAX_POOLED * 1024));
        let mut pool = Pool::default();
        for byte in 0..20 {
            for number in 0..4 {
                pool.share(&der(byte, 20_000), &secret(number));
            }
        }
        assert_eq!(pool.bytes, 120_000);
    }

    #[test]
    fn what_is_being_counted_is_bounded_too() {
        let mut pool = Pool::default();
        for length in 1..2000 {
            pool.share(&der(3, length), &secret(length));
        }
        assert!(pool.candidates.len() <= MAX_CANDIDATES);
    }
}
