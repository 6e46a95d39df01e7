//! Whatever bytes a Secret holds, reading it ends with an answer: thousands of mutations of good Secrets, from fixed seeds.

mod common;

use certstore::testing::{TestCa, TestSecret};
use certstore::{KeyKind, PrivateKeyPem, SecretData, inspect};
use common::{NAME, web};

const ROUNDS: usize = 3000;

/// Texts that parsers of PEM stumble over.
const FRAGMENTS: [&str; 10] = [
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "-----BEGIN -----\n",
    "-----BEGIN PRIVATE KEY-----",
    "-----",
    "\r\n",
    "\0",
    "====",
    "MIIB",
    "\u{fffd}",
];

/// One change of a text: a byte, a piece taken out, doubled or put elsewhere, a fragment put in.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    let end = random.usize(at..=(at + 100).min(bytes.len()));
    match random.u8(..5) {
        0 if at < bytes.len() => bytes[at] = random.u8(..),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        3 => bytes.rotate_left(at),
        _ => drop(bytes.splice(at..at, random.choice(FRAGMENTS).unwrap_or_default().bytes())),
    }
}

fn mutated(content: &TestSecret, random: &mut fastrand::Rng) -> SecretData {
    let (mut chain, mut key) = (content.chain.clone().into_bytes(), content.key.clone().into_bytes());
    for _ in 0..random.usize(1..6) {
        mutate(if random.bool() { &mut chain } else { &mut key }, random);
    }
    SecretData { certificate_chain: chain, private_key: PrivateKeyPem::new(key), version: None }
}

#[test]
fn a_mutated_secret_is_served_or_refused_and_a_refusal_names_it() {
    let ca = TestCa::with_intermediate();
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa { bits: 2048 }, KeyKind::Ed25519] {
        let content = ca.leaf(&[NAME]).key(kind).issue();
        let (mut served, mut refused) = (0, 0);
        for _ in 0..ROUNDS {
            match inspect(&web(), &mutated(&content, &mut random), &[NAME]) {
                // The key still matches the leaf, or it would not be served.
                Ok(inspection) => served += usize::from(inspection.details.key == Some(kind)),
                Err(error) => refused += usize::from(error.to_string().starts_with("secret shop/web: ")),
            }
        }
        assert_eq!(served + refused, ROUNDS);
        assert!(served > 0 && refused > ROUNDS / 2, "{served} served, {refused} refused");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..ROUNDS {
        let mut bytes = || (0..random.usize(..200)).map(|_| random.u8(..)).collect::<Vec<_>>();
        let data = SecretData { certificate_chain: bytes(), private_key: bytes().into(), version: None };
        assert!(inspect(&web(), &data, &[NAME]).is_err());
    }
}
