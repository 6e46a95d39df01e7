//! DER by hand, for what no library makes: keys of kinds that are not served, and certificates for them.

use certstore::testing::{LeafBuilder, TestSecret};
use rcgen::PublicKeyData;

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 2;
pub(crate) const BIT_STRING: u8 = 3;
pub(crate) const OCTET_STRING: u8 = 4;
pub(crate) const NULL: &[u8] = &[5, 0];

/// An element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut der = vec![tag];
    match (content.len(), u8::try_from(length.len())) {
        (short @ 0..128, _) => der.push(u8::try_from(short).expect("it is short")),
        (_, count) => {
            der.push(0x80 | count.expect("a length has at most 8 bytes"));
            der.extend(length);
        }
    }
    der.extend(content);
    der
}

/// A sequence of these elements.
pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &elements.concat())
}

/// An object identifier.
pub(crate) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![u8::try_from(arcs[0] * 40 + arcs[1]).expect("the first two arcs are small")];
    for arc in &arcs[2..] {
        let septets = (0..10).rev().map(|place| (arc >> (7 * place)) & 0x7f).skip_while(|septet| *septet == 0);
        let septets: Vec<u64> = septets.collect();
        let last = septets.len().max(1) - 1;
        let septet = |at: usize| septets.get(at).copied().unwrap_or(0) | if at < last { 0x80 } else { 0 };
        content.extend((0..=last).map(|at| u8::try_from(septet(at)).expect("a septet is small")));
    }
    element(6, &content)
}

/// A positive integer of so many bits, all ones.
pub(crate) fn ones(bits: usize) -> Vec<u8> {
    let mut content = vec![0xff; bits.div_ceil(8)];
    if bits.is_multiple_of(8) {
        content.insert(0, 0);
    } else {
        content[0] = (1 << (bits % 8)) - 1;
    }
    element(INTEGER, &content)
}

/// A private key in PKCS#8.
pub(crate) fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[&element(INTEGER, &[0]), algorithm, &element(OCTET_STRING, key)])
}

/// An RSA private key of this size, none of whose numbers fit together.
pub(crate) fn rsa_private(bits: usize) -> Vec<u8> {
    let numbers = [element(INTEGER, &[0]), ones(bits), ones(17), ones(bits - 1)].concat();
    element(SEQUENCE, &[numbers, ones(bits / 2).repeat(5)].concat())
}

/// An RSA public key of this size.
pub(crate) fn rsa_public(bits: usize) -> Vec<u8> {
    sequence(&[&ones(bits), &ones(17)])
}

struct RsaPublic(Vec<u8>);

impl PublicKeyData for RsaPublic {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// A certificate for an RSA key of this size, and the key.
pub(crate) fn rsa_secret(leaf: &LeafBuilder<'_>, bits: usize) -> TestSecret {
    let key = pem::encode(&pem::Pem::new("RSA PRIVATE KEY", rsa_private(bits)));
    TestSecret { chain: leaf.sign(&RsaPublic(rsa_public(bits))), key, version: None }
}

/// A certificate with another public key; its signature fits no longer, which nobody who serves it looks at.
pub(crate) fn with_public_key(certificate: &str, spki: &[u8]) -> String {
    edit(certificate, |certificate| certificate.public_key().raw.to_vec(), spki)
}

/// A certificate with another signature algorithm, inside and outside.
pub(crate) fn with_signature_algorithm(certificate: &str, algorithm: &[u8]) -> String {
    let of = |certificate: &x509_parser::certificate::X509Certificate<'_>| {
        let oid = certificate.signature_algorithm.algorithm.as_bytes().to_vec();
        element(SEQUENCE, &element(6, &oid))
    };
    edit(certificate, of, algorithm)
}

/// Replaces all of what is found in the certificate by something else, and writes the lengths anew.
fn edit(
    certificate: &str,
    find: impl Fn(&x509_parser::certificate::X509Certificate<'_>) -> Vec<u8>,
    by: &[u8],
) -> String {
    let der = pem::parse(certificate).expect("a certificate is PEM").into_contents();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("a certificate parses");
    let old = find(&parsed);
    let whole = content(&der);
    let tbs = element(SEQUENCE, &replace(content(parsed.tbs_certificate.as_ref()), &old, by));
    let rest = replace(&whole[parsed.tbs_certificate.as_ref().len()..], &old, by);
    let der = sequence(&[&tbs, &rest]);
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match bytes.windows(old.len()).position(|window| window == old) {
        Some(at) => [&bytes[..at], new, &bytes[at + old.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// What stands in an element.
fn content(der: &[u8]) -> &[u8] {
    let header = if der[1] < 0x80 { 2 } else { 2 + usize::from(der[1] & 0x7f) };
    &der[header..]
}
