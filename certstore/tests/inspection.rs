//! What a Secret may hold, what makes it unfit, and what is worth a word.

mod common;

use certstore::testing::{KeyEncoding, TestCa, TestSecret};
use certstore::{Field, KeyKind, MAX_CHAIN, MAX_SECRET_BYTES, PemFault, SecretError, Warning, inspect};
use common::{NAME, web};

fn fault(content: &TestSecret) -> SecretError {
    inspect(&web(), &content.data(), &[NAME]).expect_err("it can't be served")
}

#[test]
fn every_kind_of_key_is_accepted_in_every_usual_encoding() {
    let ca = TestCa::with_intermediate();
    for (kind, encoding) in [
        (KeyKind::EcdsaP256, KeyEncoding::Pkcs8),
        (KeyKind::EcdsaP256, KeyEncoding::Sec1),
        (KeyKind::EcdsaP384, KeyEncoding::Pkcs8),
        (KeyKind::EcdsaP384, KeyEncoding::Sec1),
        (KeyKind::Rsa { bits: 2048 }, KeyEncoding::Pkcs8),
        (KeyKind::Rsa { bits: 2048 }, KeyEncoding::Pkcs1),
        (KeyKind::Rsa { bits: 4096 }, KeyEncoding::Pkcs8),
        (KeyKind::Ed25519, KeyEncoding::Pkcs8),
    ] {
        let content = ca.leaf(&[NAME]).key(kind).encoding(encoding).issue();
        let inspection = inspect(&web(), &content.data(), &[NAME]).unwrap();
        assert_eq!(inspection.details.key, Some(kind), "{encoding:?}");
        assert_eq!((inspection.chain_length, inspection.warnings), (2, vec![]));
    }
}

#[test]
fn a_leaf_tells_names_issuer_serial_validity_and_fingerprint() {
    let content = TestCa::new().leaf(&[NAME, "*.eu.shop.test", "10.0.0.1"]).until(2041).issue();
    let details = inspect(&web(), &content.data(), &[NAME]).unwrap().details;
    assert_eq!(details.names, [NAME, "*.eu.shop.test", "10.0.0.1"]);
    assert_eq!(details.issuer, "CN=Postern test root");
    assert!(details.serial.contains(':') && details.fingerprint_hex().len() == 64);
    let end = details.not_after.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(end, 2_240_611_200); // date -ud 2041-01-01 +%s
}

#[test]
fn a_name_is_covered_exactly_or_by_a_wildcard_for_one_label() {
    let content = TestCa::new().issue(&["Web.shop.test", "*.eu.shop.test"]);
    let details = inspect(&web(), &content.data(), &["web.shop.test"]).unwrap().details;
    for (name, covered) in [
        ("web.shop.test", true),
        ("a.eu.shop.test", true),
        ("eu.shop.test", false),
        ("a.b.eu.shop.test", false),
        ("shop.test", false),
    ] {
        assert_eq!(details.covers(name), covered, "{name}");
    }
}

#[test]
fn what_is_not_pem_is_refused_with_its_field() {
    let good = TestCa::new().issue(&[NAME]);
    let broken = TestSecret { chain: good.chain.replace("-----END", "-----"), ..good.clone() };
    assert_eq!(
        fault(&broken),
        SecretError::Pem { secret: web(), field: Field::Certificate, fault: PemFault::MissingEnd }
    );
    let one_line = TestSecret { key: good.key.replace('\n', ""), ..good.clone() };
    assert_eq!(
        fault(&one_line),
        SecretError::Pem { secret: web(), field: Field::PrivateKey, fault: PemFault::MissingEnd }
    );
    let garbled = TestSecret { key: good.key.replace('M', "!"), ..good };
    assert_eq!(fault(&garbled), SecretError::Pem { secret: web(), field: Field::PrivateKey, fault: PemFault::Base64 });
}

#[test]
fn a_chain_must_have_a_leaf_and_at_most_ten_certificates() {
    let good = TestCa::new().issue(&[NAME]);
    for chain in ["", "hello", &good.key] {
        let content = TestSecret { chain: chain.to_owned(), ..good.clone() };
        assert_eq!(fault(&content), SecretError::NoCertificate { secret: web() });
    }
    let long = TestSecret { chain: good.chain.repeat(MAX_CHAIN + 1), ..good };
    assert_eq!(fault(&long), SecretError::ChainTooLong { secret: web(), limit: MAX_CHAIN });
}

#[test]
fn every_certificate_of_the_chain_must_parse() {
    let good = TestCa::new().issue(&[NAME]);
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for (chain, position) in [(garbage.to_owned(), 1), (good.chain.clone() + garbage, 2)] {
        let found = fault(&TestSecret { chain, ..good.clone() });
        assert!(matches!(found, SecretError::Certificate { position: at, .. } if at == position), "{found}");
    }
}

#[test]
fn a_key_must_be_there_be_one_that_is_served_and_match_the_leaf() {
    let ca = TestCa::new();
    let good = ca.issue(&[NAME]);
    let without = TestSecret { key: String::new(), ..good.clone() };
    assert_eq!(fault(&without), SecretError::NoPrivateKey { secret: web() });
    let encrypted = TestSecret { key: good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), ..good.clone() };
    assert_eq!(fault(&encrypted), SecretError::NoPrivateKey { secret: web() });
    let unknown = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n".to_owned();
    let found = fault(&TestSecret { key: unknown, ..good.clone() });
    assert!(matches!(found, SecretError::UnsupportedKey { .. }), "{found}");
    let other = good.with_key_of(&ca.issue(&[NAME]));
    assert_eq!(fault(&other), SecretError::KeyMismatch { secret: web() });
}

#[test]
fn a_secret_larger_than_any_in_use_is_refused_unread() {
    let good = TestCa::new().issue(&[NAME]);
    let content = TestSecret { key: good.key + &" ".repeat(MAX_SECRET_BYTES), chain: good.chain, version: None };
    assert!(matches!(fault(&content), SecretError::TooLarge { limit: MAX_SECRET_BYTES, .. }));
}

#[test]
fn what_stands_around_the_sections_does_not_matter() {
    let good = TestCa::new().leaf(&[NAME]).encoding(KeyEncoding::Sec1).issue();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let content = TestSecret {
        chain: format!("Bag Attributes\n{}\r\n# end\n", good.chain.replace('\n', "\r\n")),
        key: format!("{parameters}{}", good.key),
        version: None,
    };
    assert!(inspect(&web(), &content.data(), &[NAME]).is_ok());
}

#[test]
fn a_certificate_that_clients_will_refuse_passes_with_a_warning() {
    let ca = TestCa::with_intermediate();
    let good = ca.issue(&[NAME]);
    let other = ca.issue(&[NAME]);
    let turned = TestSecret { chain: good.chain.clone() + &other.chain, ..good.clone() };
    for (content, name, reason) in [
        (ca.leaf(&[NAME]).expired().issue(), NAME, "expired"),
        (ca.leaf(&[NAME]).not_yet_valid().issue(), NAME, "not_yet_valid"),
        (good, "other.shop.test", "name_not_covered"),
        (turned, NAME, "chain_broken"),
    ] {
        let warnings = inspect(&web(), &content.data(), &[name]).unwrap().warnings;
        assert_eq!(warnings.iter().map(Warning::reason).collect::<Vec<_>>(), [reason]);
        assert!(warnings[0].to_string().contains("shop/web"));
    }
}
