//! What a Secret may hold, what makes it unfit, and what is worth a word.

mod common;

use certstore::testing::{KeyEncoding, TestCa, TestSecret};
use certstore::{Field, KeyKind, MAX_CHAIN, MAX_SECRET_BYTES, PemFault, SecretError, Warning, inspect};
use common::der::{element, oid, sequence, with_signature_algorithm};
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
        (KeyKind::EcdsaP521, KeyEncoding::Pkcs8),
        (KeyKind::EcdsaP521, KeyEncoding::Sec1),
        (KeyKind::Rsa { bits: 2048 }, KeyEncoding::Pkcs8),
        (KeyKind::Rsa { bits: 2048 }, KeyEncoding::Pkcs1),
        (KeyKind::Rsa { bits: 4096 }, KeyEncoding::Pkcs8),
        (KeyKind::Rsa { bits: 8192 }, KeyEncoding::Pkcs1),
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
        SecretError::Pem { secret: web(), field: Field::Certificate, fault: PemFault::MissingEnd { line: 1 } }
    );
    let one_line = TestSecret { key: good.key.replace('\n', ""), ..good.clone() };
    assert_eq!(
        fault(&one_line),
        SecretError::Pem { secret: web(), field: Field::PrivateKey, fault: PemFault::IllegalStart { line: 1 } }
    );
    let garbled = TestSecret { key: good.key.replace('M', "!"), ..good };
    assert_eq!(
        fault(&garbled),
        SecretError::Pem { secret: web(), field: Field::PrivateKey, fault: PemFault::Base64 { line: 1 } }
    );
}

#[test]
fn a_chain_must_have_a_leaf_and_at_most_ten_certificates() {
    let good = TestCa::new().issue(&[NAME]);
    for chain in ["", "hello", &good.key] {
        let content = TestSecret { chain: chain.to_owned(), ..good.clone() };
        assert!(matches!(fault(&content), SecretError::NoCertificate { .. }));
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
fn a_key_must_be_there_and_match_the_leaf() {
    let ca = TestCa::new();
    let good = ca.issue(&[NAME]);
    let without = TestSecret { key: String::new(), ..good.clone() };
    assert!(matches!(fault(&without), SecretError::NoPrivateKey { .. }));
    let other = good.with_key_of(&ca.issue(&[NAME]));
    assert!(matches!(fault(&other), SecretError::KeyMismatch { .. }));
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
    let doubled = TestSecret { chain: good.chain.clone() + &other.chain, ..good.clone() };
    let strange = TestSecret { chain: good.chain.clone() + &TestCa::new().issue(&[NAME]).chain, ..good.clone() };
    let access = sequence(&[&sequence(&[&oid(&[1, 3, 6, 1, 5, 5, 7, 48, 2]), &element(0x86, b"http://ca.test/1")])]);
    let alone = ca.leaf(&[NAME]).extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access).issue();
    let complete = alone.clone();
    let alone = TestSecret { chain: alone.chain.replace(&ca.intermediate_pem(), ""), ..alone };
    let sha1 = sequence(&[&oid(&[1, 2, 840, 10045, 4, 1])]);
    let weak = ca.intermediate_pem();
    let weak = TestSecret { chain: good.chain.replace(&weak, &with_signature_algorithm(&weak, &sha1)), ..good.clone() };
    for (content, name, reason) in [
        (ca.leaf(&[NAME]).expired().issue(), NAME, "expired"),
        (ca.leaf(&[NAME]).not_yet_valid().issue(), NAME, "not_yet_valid"),
        (good.clone(), "other.shop.test", "name_not_covered"),
        (doubled, NAME, "chain_broken"),
        (strange, NAME, "chain_broken"),
        (alone, NAME, "chain_incomplete"),
        (weak, NAME, "weak_signature"),
    ] {
        let warnings = inspect(&web(), &content.data(), &[name]).unwrap().warnings;
        assert_eq!(warnings.iter().map(Warning::reason).collect::<Vec<_>>(), [reason]);
        assert!(warnings[0].to_string().contains("shop/web"));
    }
    assert_eq!(inspect(&web(), &complete.data(), &[NAME]).unwrap().warnings, []);
}

#[test]
fn a_date_in_a_warning_is_a_date() {
    let ca = TestCa::new();
    for (content, says) in [
        (ca.leaf(&[NAME]).expired().issue(), "expired at 2002-01-01T00:00:00Z"),
        (ca.leaf(&[NAME]).not_yet_valid().issue(), "is not valid before 2900-01-01T00:00:00Z"),
    ] {
        let warnings = inspect(&web(), &content.data(), &[NAME]).unwrap().warnings;
        assert!(warnings[0].to_string().ends_with(says), "{}", warnings[0]);
    }
}

#[test]
fn a_chain_in_the_wrong_order_is_sent_in_the_right_one_with_a_warning() {
    let ca = TestCa::with_intermediate();
    let good = ca.issue(&[NAME]);
    let (intermediate, root) = (ca.intermediate_pem(), ca.root_pem());
    let leaf = good.chain.replace(&intermediate, "");
    for (parts, sent, repeated) in [
        ([&root, &intermediate, &leaf], vec![3, 2, 1], vec![]),
        ([&intermediate, &leaf, &root], vec![2, 1, 3], vec![]),
        ([&leaf, &root, &intermediate], vec![1, 3, 2], vec![]),
        ([&leaf, &leaf, &intermediate], vec![1, 3], vec![2]),
        ([&root, &leaf, &intermediate], vec![2, 3, 1], vec![]),
    ] {
        let chain = parts.map(String::as_str).concat();
        let inspection = inspect(&web(), &TestSecret { chain, ..good.clone() }.data(), &[NAME]).unwrap();
        assert_eq!(inspection.details.names, [NAME]);
        assert_eq!(inspection.chain_length, sent.len());
        assert_eq!(inspection.warnings, [Warning::ChainReordered { secret: web(), sent, repeated }]);
    }
    let in_order = [&*leaf, &intermediate, &root].concat();
    assert_eq!(inspect(&web(), &TestSecret { chain: in_order, ..good }.data(), &[NAME]).unwrap().warnings, []);
}

#[test]
fn no_block_is_dropped_without_a_word() {
    let ca = TestCa::with_intermediate();
    let good = ca.leaf(&[NAME]).encoding(KeyEncoding::Sec1).issue();
    let (intermediate, unread) = (ca.intermediate_pem(), |what: &str| vec![("unread", what.to_owned())]);
    let leaf = good.chain.replace(&intermediate, "");
    let other = |label: &str| format!("{leaf}{}", intermediate.replace("CERTIFICATE", label));
    for (chain, length, warnings) in [
        (format!("{}{intermediate}", leaf.trim_end()), 2, vec![]),
        (format!("\u{feff}{leaf}\u{feff}{intermediate}"), 2, vec![]),
        (other("X509 CERTIFICATE"), 2, vec![]),
        (other("TRUSTED CERTIFICATE"), 2, vec![]),
        (good.chain.replace("CERTIFICATE", "X509 CERTIFICATE"), 2, vec![]),
        (format!("{}{leaf}{intermediate}", good.key), 2, vec![]),
        (other("PKCS7"), 1, unread("tls.crt has what is not read: PKCS7")),
        (format!("{leaf} {intermediate}"), 1, unread("an indented block in line")),
        (
            format!("{leaf}{}", intermediate.replace("-----BEGIN", "---BEGIN")),
            1,
            unread("the begin of a block in line"),
        ),
    ] {
        let inspection = inspect(&web(), &TestSecret { chain: chain.clone(), ..good.clone() }.data(), &[NAME]).unwrap();
        assert_eq!((inspection.chain_length, inspection.warnings.len()), (length, warnings.len()), "{chain}");
        for (found, (reason, says)) in inspection.warnings.iter().zip(warnings) {
            assert_eq!(found.reason(), reason);
            assert!(found.to_string().contains(&says), "{found}");
        }
    }
    for (key, says) in [
        (good.key.clone() + &intermediate, None),
        (format!("\u{feff}{}", good.key), None),
        (
            good.key.clone() + &ca.root_pem(),
            Some("tls.key has what is not read: 1 certificates that tls.crt does not have"),
        ),
        (good.key.repeat(2), Some("a second private key")),
        (good.key.clone() + &good.key.replace("EC PRIVATE", "OPENSSH PRIVATE"), Some("OPENSSH PRIVATE KEY")),
        (good.key.clone() + "-----BEGIN X", Some("a malformed block")),
        (good.key.clone() + &intermediate.replace('M', "!"), Some("a malformed block")),
    ] {
        let warnings = inspect(&web(), &TestSecret { key, ..good.clone() }.data(), &[NAME]).unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(says.is_some()), "{warnings:?}");
        assert!(warnings.iter().all(|found| found.to_string().contains(says.unwrap())), "{warnings:?}");
    }
}
