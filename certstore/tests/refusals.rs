//! What is refused, and that its refusal names what was found: one table, with an input made for each row.

mod common;

use certstore::testing::{KeyEncoding, TestCa, TestSecret};
use certstore::{KeyKind, MAX_CERTIFICATE_BYTES, SecretData, inspect};
use common::der::{self, element, oid, pkcs8, sequence};
use common::{NAME, web};

/// id-ecPublicKey and the curves of rows.
const EC: &[u64] = &[1, 2, 840, 10045, 2, 1];
const P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
const CURVES: [(&str, &[u64]); 4] = [
    ("secp256k1", &[1, 3, 132, 0, 10]),
    ("P-224", &[1, 3, 132, 0, 33]),
    ("brainpoolP256r1", &[1, 3, 36, 3, 3, 2, 8, 1, 1, 7]),
    ("curve 1.2.3.4567", &[1, 2, 3, 4567]),
];

struct Row {
    what: &'static str,
    chain: Vec<u8>,
    key: Vec<u8>,
    reason: &'static str,
    says: Vec<String>,
}

fn row(what: &'static str, content: &TestSecret, reason: &'static str, says: &[&str]) -> Row {
    let (chain, key) = (content.chain.clone().into_bytes(), content.key.clone().into_bytes());
    Row { what, chain, key, reason, says: says.iter().map(|text| (*text).to_owned()).collect() }
}

fn armor(label: &str, der: Vec<u8>) -> String {
    pem::encode(&pem::Pem::new(label, der)).replace('\r', "")
}

fn der_of(text: &str) -> Vec<u8> {
    pem::parse(text).expect("it is PEM").into_contents()
}

fn base64_of(bytes: &[u8]) -> String {
    armor("X", bytes.to_vec()).lines().filter(|line| !line.starts_with('-')).collect()
}

/// A leaf whose key is of another algorithm, and that key.
fn other_kind(ca: &TestCa, algorithm: &[u8], public: &[u8], key: &[u8]) -> TestSecret {
    let bits = element(der::BIT_STRING, &[&[0], public].concat());
    let spki = sequence(&[algorithm, &bits]);
    let chain = der::with_public_key(&ca.issue(&[NAME]).chain, &spki);
    TestSecret { chain, key: armor("PRIVATE KEY", pkcs8(algorithm, key)), version: None }
}

fn keys(ca: &TestCa) -> Vec<Row> {
    let good = ca.leaf(&[NAME]).encoding(KeyEncoding::Sec1).issue();
    let encrypted = TestSecret { key: armor("ENCRYPTED PRIVATE KEY", vec![1; 300]), ..good.clone() };
    let headers = "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n";
    let legacy = TestSecret { key: good.key.replacen("-----\n", headers, 1), ..good.clone() };
    let pss = sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 10])]);
    let dsa = sequence(&[&oid(&[1, 2, 840, 10040, 4, 1])]);
    let ed448 = sequence(&[&oid(&[1, 3, 101, 113])]);
    let mut rows = vec![
        row("encrypted, PKCS#8", &encrypted, "encrypted_key", &["encrypted (PKCS#8)", "without a passphrase"]),
        row("encrypted, older form", &legacy, "encrypted_key", &["encrypted (Proc-Type: 4,ENCRYPTED AES-128-CBC)"]),
        row(
            "RSASSA-PSS",
            &other_kind(ca, &pss, &der::rsa_public(2048), &der::rsa_private(2048)),
            "unsupported_key",
            &["an RSASSA-PSS key of 2048 bits is not served"],
        ),
        row("DSA", &other_kind(ca, &dsa, &[1], &[2, 1, 1]), "unsupported_key", &["a DSA key is not served"]),
        row("Ed448", &other_kind(ca, &ed448, &[1; 57], &[4, 0]), "unsupported_key", &["an Ed448 key is not served"]),
        row("no key at all", &TestSecret { key: String::new(), ..good.clone() }, "no_private_key", &["holds nothing"]),
        row(
            "a public key",
            &TestSecret { key: armor("PUBLIC KEY", vec![1]), ..good.clone() },
            "no_private_key",
            &["holds PUBLIC KEY and nothing else"],
        ),
        row(
            "bytes that are no key",
            &TestSecret { key: armor("PRIVATE KEY", vec![7; 19]), ..good.clone() },
            "damaged_key",
            &["a block of 19 bytes"],
        ),
        row(
            "a key in DER",
            &TestSecret { key: base64_of(&der_of(&good.key)), ..good.clone() },
            "no_private_key",
            &["a private key in DER, in base64 without BEGIN and END lines"],
        ),
        row(
            "the key of another certificate",
            &good.clone().with_key_of(&ca.leaf(&[NAME]).key(KeyKind::Ed25519).issue()),
            "key_mismatch",
            &["an Ed25519 key", "an ECDSA P-256 key"],
        ),
    ];
    for bits in [1024, 2047, 16384] {
        let says = format!("an RSA key of {bits} bits is not served");
        rows.push(row("RSA", &der::rsa_secret(&ca.leaf(&[NAME]), bits), "unsupported_key", &[&says]));
    }
    rows.push(row("RSA", &der::rsa_secret(&ca.leaf(&[NAME]), 2048), "damaged_key", &["an RSA key of 2048 bits"]));
    for (name, curve) in CURVES {
        let algorithm = sequence(&[&oid(EC), &oid(curve)]);
        let says = format!("an EC key on {name} is not served");
        rows.push(row("a curve", &other_kind(ca, &algorithm, &[4; 65], &[48, 0]), "unsupported_key", &[&says]));
    }
    rows
}

/// P-256 spelt out, in certificate and key; the numbers don't matter.
fn explicit_curve(ca: &TestCa) -> Row {
    let good = ca.leaf(&[NAME]).encoding(KeyEncoding::Sec1).issue();
    let certificate = der_of(&good.chain);
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).expect("it parses");
    let field = sequence(&[&oid(&[1, 2, 840, 10045, 1, 1]), &der::ones(256)]);
    let explicit = sequence(&[&element(der::INTEGER, &[1]), &field]);
    let public = element(der::BIT_STRING, &[&[0], &*parsed.public_key().subject_public_key.data].concat());
    let spki = sequence(&[&sequence(&[&oid(EC), &explicit]), &public]);
    let content = TestSecret { chain: der::with_public_key(&good.chain, &spki), ..good };
    row("explicit parameters", &content, "unsupported_key", &["an EC key with explicit curve parameters is not served"])
}

fn chains(ca: &TestCa) -> Vec<Row> {
    let good = ca.issue(&[NAME]);
    let with_chain = |chain: String| TestSecret { chain, ..good.clone() };
    let large = ca.leaf(&[NAME]).extension(&[1, 2, 3, 4], [4, 0].repeat(40_000)).issue();
    let size = der_of(large.chain.split_inclusive("-----END CERTIFICATE-----").next().expect("there is a leaf")).len();
    let (root, stranger) = (ca.root_pem(), TestCa::new().issue(&[NAME]).chain);
    let leaf = good.chain.replace(&ca.intermediate_pem(), "");
    vec![
        Row {
            says: vec![format!("has {size} bytes"), format!("at most {MAX_CERTIFICATE_BYTES} are accepted")],
            ..row("a large leaf", &large, "certificate_too_large", &[])
        },
        row(
            "reversed, the intermediate missing",
            &with_chain(format!("{root}{leaf}")),
            "chain_order",
            &["tls.key belongs to certificate 2", "certificate 1 is not in its chain", "the leaf first"],
        ),
        row(
            "reversed, with a stranger",
            &with_chain(format!("{stranger}{root}{}{leaf}", ca.intermediate_pem())),
            "chain_order",
            &["tls.key belongs to certificate 4", "certificate 1 is not in its chain"],
        ),
        row(
            "swapped",
            &TestSecret { chain: good.key.clone(), key: good.chain.clone(), version: None },
            "swapped",
            &["tls.crt holds a private key and tls.key certificates"],
        ),
        row(
            "a request",
            &with_chain(armor("CERTIFICATE REQUEST", vec![48, 0])),
            "no_certificate",
            &["CERTIFICATE REQUEST and nothing else"],
        ),
        row(
            "PKCS#7 in PEM",
            &with_chain(armor("PKCS7", vec![48, 0])),
            "no_certificate",
            &["tls.crt holds PKCS7 and nothing else"],
        ),
        row(
            "four dashes",
            &with_chain(leaf.replace("-----BEGIN", "----BEGIN")),
            "no_certificate",
            &["something like the begin of a block in line 1"],
        ),
        row(
            "indented",
            &with_chain(format!("  {}", leaf.replace('\n', "\n  "))),
            "no_certificate",
            &["an indented block in line 1"],
        ),
        row(
            "line breaks as two characters",
            &with_chain(leaf.replace('\n', "\\n")),
            "pem",
            &["line 1 begins with \"-----BEGIN\" but does not end with"],
        ),
        row("text", &with_chain("hello, world".to_owned()), "no_certificate", &["12 bytes that are no PEM"]),
        row("blanks", &with_chain(" \n ".to_owned()), "no_certificate", &["3 bytes of white space"]),
        row(
            "base64 twice",
            &with_chain(base64_of(leaf.as_bytes())),
            "no_certificate",
            &["PEM that is encoded in base64 once more"],
        ),
        row(
            "base64 alone",
            &with_chain(base64_of(&der_of(&leaf))),
            "no_certificate",
            &["a certificate in DER, in base64 without BEGIN and END lines"],
        ),
    ]
}

fn binaries(ca: &TestCa) -> Vec<Row> {
    let good = ca.issue(&[NAME]);
    let der = der_of(good.chain.split_inclusive("-----END CERTIFICATE-----").next().expect("there is a leaf"));
    let data = |arc: u64| sequence(&[&oid(&[1, 2, 840, 113_549, 1, 7, arc])]);
    let utf16: Vec<u8> = good.chain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&[0xff, 0xfe], &utf16[..]].concat();
    let big: Vec<u8> = good.chain.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let rows = [
        ("DER", der.clone(), format!("a certificate in DER ({} bytes)", der.len())),
        ("PKCS#7", data(2), "PKCS#7 in DER (13 bytes)".to_owned()),
        ("PKCS#12", sequence(&[&element(der::INTEGER, &[3]), &data(1)]), "PKCS#12 (18 bytes)".to_owned()),
        ("a keystore", vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], "a Java keystore (8 bytes)".to_owned()),
        ("UTF-16", utf16.clone(), format!("text in UTF-16 ({} bytes)", utf16.len())),
        ("UTF-16 with a mark", marked.clone(), format!("text in UTF-16 ({} bytes)", marked.len())),
        ("UTF-16, big endian", big.clone(), format!("text in UTF-16 ({} bytes)", big.len())),
    ];
    let row = |(what, chain, says)| Row {
        what,
        chain,
        key: good.key.clone().into_bytes(),
        reason: "no_certificate",
        says: vec![says],
    };
    rows.map(row).into()
}

#[test]
fn a_refusal_names_the_kind_and_the_size_of_what_was_found() {
    let ca = TestCa::with_intermediate();
    let rows = [keys(&ca), chains(&ca), binaries(&ca), vec![explicit_curve(&ca)]];
    for Row { what, chain, key, reason, says } in rows.into_iter().flatten() {
        let data = SecretData { certificate_chain: chain, private_key: key.into(), version: None };
        let error = inspect(&web(), &data, &[NAME]).expect_err(what);
        let said = error.to_string() + &std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.reason(), reason, "{what}: {said}");
        assert!(said.starts_with("secret shop/web: "), "{what}: {said}");
        for text in says {
            assert!(said.contains(&text), "{what}: expected {text:?} in {said:?}");
        }
    }
}

#[test]
fn explicit_parameters_in_the_key_alone_do_not_matter() {
    let good = TestCa::new().leaf(&[NAME]).encoding(KeyEncoding::Sec1).issue();
    let parameters = armor("EC PARAMETERS", oid(P256));
    let content = TestSecret { key: parameters + &good.key, ..good };
    assert_eq!(inspect(&web(), &content.data(), &[NAME]).unwrap().warnings, []);
}
