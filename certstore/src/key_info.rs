//! Kind and size of a key, read from its DER: of a certificate's public key, and of a private key that is refused.
//!
//! `x509-parser` gives the size alone: by it, secp256k1 is P-256, and an RSA modulus of 2047 bits has 2040.

use rustls_pki_types::PrivateKeyDer;
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::details::KeyKind;

/// Object identifiers of what else stands where a key's algorithm does (RFC 3279, RFC 8410, RFC 9881).
const ALGORITHMS: [(&str, &str); 9] = [
    ("1.2.840.10040.4.1", "a DSA key"),
    ("1.2.840.113549.1.3.1", "a Diffie-Hellman key"),
    ("1.3.101.110", "an X25519 key"),
    ("1.3.101.111", "an X448 key"),
    ("1.3.101.113", "an Ed448 key"),
    ("1.2.840.113549.1.1.7", "an RSAES-OAEP key"),
    ("2.16.840.1.101.3.4.3.17", "an ML-DSA-44 key"),
    ("2.16.840.1.101.3.4.3.18", "an ML-DSA-65 key"),
    ("2.16.840.1.101.3.4.3.19", "an ML-DSA-87 key"),
];

/// Curves that keys are found on and not served (RFC 5480, SEC 2, RFC 5639).
const CURVES: [(&str, &str); 9] = [
    ("1.2.840.10045.3.1.1", "P-192"),
    ("1.3.132.0.33", "P-224"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
    ("1.3.36.3.3.2.8.1.1.8", "brainpoolP256t1"),
    ("1.3.36.3.3.2.8.1.1.12", "brainpoolP384t1"),
    ("1.2.156.10197.1.301", "SM2"),
];

const RSA: &str = "1.2.840.113549.1.1.1";
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// Kind and size of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyInfo {
    /// Of a kind that is served, whatever its size.
    Known(KeyKind),
    /// Of another kind: in words.
    Other(String),
}

impl KeyInfo {
    /// The key of a certificate.
    pub(crate) fn of_certificate(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &key.algorithm;
        let bits = || rsa_bits(sequence(&key.subject_public_key.data)?);
        Self::of_algorithm(&algorithm.algorithm, algorithm.parameters.as_ref(), bits)
    }

    /// A private key; `None` if the bytes are none.
    pub(crate) fn of_private_key(key: &PrivateKeyDer<'_>) -> Option<Self> {
        match key {
            PrivateKeyDer::Pkcs8(key) => of_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => {
                let (_, modulus) = any(sequence(key.secret_pkcs1_der())?)?;
                Some(Self::of_rsa(rsa_bits(modulus)))
            }
            PrivateKeyDer::Sec1(key) => of_sec1(key.secret_sec1_der()),
            _ => None,
        }
    }

    fn of_algorithm(oid: &Oid<'_>, parameters: Option<&Any<'_>>, rsa_bits: impl FnOnce() -> Option<usize>) -> Self {
        let oid = oid.to_id_string();
        match oid.as_str() {
            RSA => Self::of_rsa(rsa_bits()),
            RSASSA_PSS => Self::Other(match rsa_bits() {
                Some(bits) => format!("an RSASSA-PSS key of {bits} bits"),
                None => "an RSASSA-PSS key".to_owned(),
            }),
            EC => Self::of_curve(parameters),
            ED25519 => Self::Known(KeyKind::Ed25519),
            oid => Self::Other(match ALGORITHMS.iter().find(|(known, _)| *known == oid) {
                Some((_, words)) => (*words).to_owned(),
                None => format!("a key of algorithm {oid}"),
            }),
        }
    }

    fn of_rsa(bits: Option<usize>) -> Self {
        bits.map_or_else(
            || Self::Other("an RSA key without a modulus".to_owned()),
            |bits| Self::Known(KeyKind::Rsa { bits }),
        )
    }

    fn of_curve(parameters: Option<&Any<'_>>) -> Self {
        match parameters {
            None => Self::Other("an EC key without a curve".to_owned()),
            Some(parameters) if parameters.tag() == Tag::Sequence => {
                Self::Other("an EC key with explicit curve parameters".to_owned())
            }
            Some(parameters) => match Oid::try_from(parameters.clone()).map(|oid| oid.to_id_string()).as_deref() {
                Ok("1.2.840.10045.3.1.7") => Self::Known(KeyKind::EcdsaP256),
                Ok("1.3.132.0.34") => Self::Known(KeyKind::EcdsaP384),
                Ok("1.3.132.0.35") => Self::Known(KeyKind::EcdsaP521),
                Ok(oid) => Self::Other(match CURVES.iter().find(|(known, _)| *known == oid) {
                    Some((_, name)) => format!("an EC key on {name}"),
                    None => format!("an EC key on curve {oid}"),
                }),
                Err(_) => Self::Other("an EC key on no named curve".to_owned()),
            },
        }
    }

    /// The kind, if it is one that is served.
    pub(crate) fn kind(&self) -> Option<KeyKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Other(_) => None,
        }
    }
}

impl std::fmt::Display for KeyInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(KeyKind::Rsa { bits }) => write!(f, "an RSA key of {bits} bits"),
            Self::Known(kind) => write!(f, "an {kind} key"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// `PrivateKeyInfo` (RFC 5958 §2): version, algorithm, key.
fn of_pkcs8(der: &[u8]) -> Option<KeyInfo> {
    let (_version, rest) = any(sequence(der)?)?;
    let (algorithm, rest) = any(rest)?;
    let (key, _) = any(rest)?;
    let (parameters, oid) = Oid::from_der(algorithm.data).ok()?;
    let parameters = any(parameters).map(|(parameters, _)| parameters);
    let bits = || {
        let (_version, modulus) = any(sequence(key.data)?)?;
        rsa_bits(modulus)
    };
    Some(KeyInfo::of_algorithm(&oid, parameters.as_ref(), bits))
}

/// `ECPrivateKey` (RFC 5915 §3): version, key, and the curve as the content of element 0.
fn of_sec1(der: &[u8]) -> Option<KeyInfo> {
    let (_version, rest) = any(sequence(der)?)?;
    let (_key, rest) = any(rest)?;
    let curve = any(rest).filter(|(curve, _)| curve.tag() == Tag(0)).and_then(|(curve, _)| any(curve.data));
    Some(KeyInfo::of_curve(curve.map(|(curve, _)| curve).as_ref()))
}

/// Bits of the integer that `der` begins with.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (integer, _) = any(der).filter(|(integer, _)| integer.tag() == Tag::Integer)?;
    let zeros = integer.data.iter().take_while(|byte| **byte == 0).count();
    let first = integer.data.get(zeros)?;
    Some((integer.data.len() - zeros) * 8 - first.leading_zeros() as usize)
}

fn sequence(der: &[u8]) -> Option<&[u8]> {
    any(der).filter(|(sequence, _)| sequence.tag() == Tag::Sequence).map(|(sequence, _)| sequence.data)
}

/// The first element of `der`, and what follows it.
fn any(der: &[u8]) -> Option<(Any<'_>, &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    Some((any, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_modulus_are_counted_from_its_first_one() {
        for (integer, bits) in [
            (&[2, 1, 1][..], Some(1)),
            (&[2, 2, 0, 0x80], Some(8)),
            (&[2, 2, 0x7f, 0xff], Some(15)),
            (&[2, 3, 0, 0, 0], None),
            (&[4, 1, 1], None),
            (&[], None),
        ] {
            assert_eq!(rsa_bits(integer), bits, "{integer:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_none() {
        for bytes in [&b""[..], b"hello", &[0x30, 0], &[0x30, 3, 2, 1, 0]] {
            assert_eq!(of_pkcs8(bytes), None, "{bytes:?}");
            assert_eq!(of_sec1(bytes), None, "{bytes:?}");
        }
    }
}
