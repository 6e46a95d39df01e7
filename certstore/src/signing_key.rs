//! A private key that signs for rustls and can be copied.
//!
//! rustls' own keys cannot: they give nothing out. A cache that has become small copies what it has kept into memory that
//! lies together ([`CertStore::gather`](crate::CertStore::gather)), keys included. What is signed, and how, is as rustls
//! does it with the same library.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{AlgorithmIdentifier, PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};

use crate::details::KeyKind;
use crate::key_info::KeyInfo;

/// For RSA, what is preferred first.
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// A curve that keys are served on, with the one scheme that TLS 1.3 signs by on it (RFC 8446 §4.2.3).
struct Curve {
    kind: KeyKind,
    scheme: SignatureScheme,
    hash: &'static digest::Algorithm,
    algorithm: &'static EcdsaSigningAlgorithm,
    id: AlgorithmIdentifier,
}

static P256: Curve = Curve {
    kind: KeyKind::EcdsaP256,
    scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
    hash: &digest::SHA256,
    algorithm: &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
    id: alg_id::ECDSA_P256,
};
static P384: Curve = Curve {
    kind: KeyKind::EcdsaP384,
    scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
    hash: &digest::SHA384,
    algorithm: &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
    id: alg_id::ECDSA_P384,
};

static P521: Curve = Curve {
    kind: KeyKind::EcdsaP521,
    scheme: SignatureScheme::ECDSA_NISTP521_SHA512,
    hash: &digest::SHA512,
    algorithm: &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    id: alg_id::ECDSA_P521,
};

/// A private key. A clone is the same key; a [`copy`](Self::copy) is its equal in memory of its own.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<Pair>);

enum Pair {
    Ecdsa(EcdsaKeyPair, &'static Curve),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Parses and checks a key; `None` if it is damaged or of a kind that is not served. It is quicker if the kind is as
    /// expected: to find that a key is of another kind takes reading all of it.
    pub(crate) fn parse(der: &PrivateKeyDer<'_>, expected: Option<KeyKind>) -> Option<Self> {
        let by_kind = match expected {
            Some(KeyKind::EcdsaP384) => p384,
            Some(KeyKind::EcdsaP521) => p521,
            Some(KeyKind::Rsa { .. }) => rsa,
            Some(KeyKind::Ed25519) => ed25519,
            Some(KeyKind::EcdsaP256) | None => p256,
        };
        let pair = by_kind(der).or_else(|| [p256, p384, p521, rsa, ed25519].iter().find_map(|parse| parse(der)))?;
        Some(Self(Arc::new(pair)))
    }

    /// Kind and size.
    pub(crate) fn info(&self) -> KeyInfo {
        KeyInfo::Known(match &*self.0 {
            Pair::Ecdsa(_, curve) => curve.kind,
            Pair::Rsa(pair) => KeyKind::Rsa { bits: pair.public_modulus_len() * 8 },
            Pair::Ed25519(_) => KeyKind::Ed25519,
        })
    }

    /// The public key as a certificate has it, without its algorithm.
    pub(crate) fn public_bits(&self) -> &[u8] {
        match &*self.0 {
            Pair::Ecdsa(pair, _) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// The same key on a curve for TLS 1.2, where it signs with any hash; `None` for other kinds.
    pub(crate) fn with_any_hash(&self) -> Option<AnyHashKey> {
        matches!(&*self.0, Pair::Ecdsa(..)).then(|| AnyHashKey(self.clone()))
    }

    /// The same key in memory that is allocated now; `None` if there is none. What it is written as on the way is wiped.
    pub(crate) fn copy(&self) -> Option<Self> {
        let pair = match &*self.0 {
            Pair::Ecdsa(pair, curve) => {
                let der = pair.to_pkcs8v1().ok()?;
                Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(curve.algorithm, der.as_ref()).ok()?, curve)
            }
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'static> = pair.as_der().ok()?;
                Pair::Rsa(RsaKeyPair::from_pkcs8(der.as_ref()).ok()?)
            }
            Pair::Ed25519(pair) => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(pair.to_pkcs8v1().ok()?.as_ref()).ok()?)
            }
        };
        Some(Self(Arc::new(pair)))
    }
}

fn p256(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    ecdsa(der, &P256)
}

fn p384(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    ecdsa(der, &P384)
}

fn p521(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    ecdsa(der, &P521)
}

fn ecdsa(der: &PrivateKeyDer<'_>, curve: &'static Curve) -> Option<Pair> {
    let pair = match der {
        PrivateKeyDer::Sec1(key) => EcdsaKeyPair::from_private_key_der(curve.algorithm, key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => EcdsaKeyPair::from_pkcs8(curve.algorithm, key.secret_pkcs8_der()),
        _ => return None,
    };
    Some(Pair::Ecdsa(pair.ok()?, curve))
}

fn rsa(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    let pair = match der {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return None,
    };
    pair.ok().map(Pair::Rsa)
}

fn ed25519(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    let PrivateKeyDer::Pkcs8(key) = der else { return None };
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der()).ok().map(Pair::Ed25519)
}

impl SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let own = match &*self.0 {
            Pair::Ecdsa(_, curve) => std::slice::from_ref(&curve.scheme),
            Pair::Rsa(_) => &RSA_SCHEMES,
            Pair::Ed25519(_) => &[SignatureScheme::ED25519],
        };
        let scheme = *own.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(SchemeSigner { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(match &*self.0 {
            Pair::Ecdsa(pair, curve) => public_key_to_spki(&curve.id, pair.public_key()),
            Pair::Rsa(pair) => public_key_to_spki(&alg_id::RSA_ENCRYPTION, pair.public_key()),
            Pair::Ed25519(pair) => public_key_to_spki(&alg_id::ED25519, pair.public_key()),
        })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &*self.0 {
            Pair::Ecdsa(..) => SignatureAlgorithm::ECDSA,
            Pair::Rsa(_) => SignatureAlgorithm::RSA,
            Pair::Ed25519(_) => SignatureAlgorithm::ED25519,
        }
    }
}

/// Names the algorithm and nothing else.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// A key on a curve that signs with whatever hash a client of TLS 1.2 offers.
#[derive(Clone, Debug)]
pub(crate) struct AnyHashKey(PrivateKey);

/// ECDSA by hash: in TLS 1.2, these name no curve.
const HASHES: [(SignatureScheme, &digest::Algorithm); 3] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, &digest::SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, &digest::SHA384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, &digest::SHA512),
];

impl SigningKey for AnyHashKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (scheme, hash) = *HASHES.iter().find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(AnyHashSigner { key: self.0.clone(), scheme, hash }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct AnyHashSigner {
    key: PrivateKey,
    scheme: SignatureScheme,
    hash: &'static digest::Algorithm,
}

impl Signer for AnyHashSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = || rustls::Error::General("signing failed".to_owned());
        let Pair::Ecdsa(pair, curve) = &*self.key.0 else { return Err(failed()) };
        let hashed = digest::digest(self.hash, message);
        // The library signs a digest of the curve's own hash alone. Of another one, the leftmost bits count that the curve
        // has (SEC 1 §4.1.3), as a number: it is cut, or filled up with zeros in front.
        let hashed = hashed.as_ref();
        let length = curve.hash.output_len();
        let mut fitted = vec![0; length.saturating_sub(hashed.len())];
        fitted.extend(&hashed[..hashed.len().min(length)]);
        let fitted = Digest::import_less_safe(&fitted, curve.hash).map_err(|_| failed())?;
        pair.sign_digest(&fitted).map(|signature| signature.as_ref().to_vec()).map_err(|_| failed())
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Signs by one scheme.
#[derive(Debug)]
struct SchemeSigner {
    key: PrivateKey,
    scheme: SignatureScheme,
}

impl Signer for SchemeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = |_| rustls::Error::General("signing failed".to_owned());
        match &*self.key.0 {
            Pair::Ecdsa(pair, _) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding(self.scheme), &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// How RSA signs by one of [`RSA_SCHEMES`].
fn encoding(scheme: SignatureScheme) -> &'static dyn signature::RsaEncoding {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => &signature::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 => &signature::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 => &signature::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PSS_SHA256 => &signature::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384 => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        KeyPair as Generated, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
        PKCS_RSA_SHA256,
    };

    use super::*;

    const ALL: [SignatureScheme; 10] = [
        SignatureScheme::ED25519,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
    ];

    /// Schemes by which a key of this kind signs, in the order in which it takes them.
    fn schemes(key: &dyn SigningKey) -> Vec<SignatureScheme> {
        let mut left = ALL.to_vec();
        let next = |left: &mut Vec<SignatureScheme>| {
            let scheme = key.choose_scheme(left)?.scheme();
            left.retain(|other| *other != scheme);
            Some(scheme)
        };
        std::iter::from_fn(|| next(&mut left)).collect()
    }

    fn verifies(key: &dyn SigningKey, scheme: SignatureScheme, signed: &[u8]) -> bool {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let spki = key.public_key().unwrap();
        let (_, of_scheme) = algorithms.mapping.iter().find(|(of, _)| *of == scheme).unwrap();
        let (_, spki) = x509_parser::prelude::FromDer::from_der(spki.as_ref())
            .map(|(rest, spki): (_, x509_parser::x509::SubjectPublicKeyInfo<'_>)| (rest, spki))
            .unwrap();
        let public = &spki.subject_public_key.data;
        of_scheme.iter().any(|algorithm| algorithm.verify_signature(public, b"message", signed).is_ok())
    }

    #[test]
    fn a_key_and_its_copy_sign_as_rustls_own_does() {
        for algorithm in
            [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512, &PKCS_ED25519, &PKCS_RSA_SHA256]
        {
            let generated = Generated::generate_for(algorithm).unwrap();
            let der = PrivateKeyDer::Pkcs8(generated.serialize_der().into());
            let theirs = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
            let key = PrivateKey::parse(&der, None).unwrap();
            let copy = key.copy().unwrap();
            assert!(!Arc::ptr_eq(&key.0, &copy.0));
            for ours in [&key, &copy] {
                assert_eq!(ours.public_key(), theirs.public_key());
                assert_eq!(ours.algorithm(), theirs.algorithm());
                assert_eq!(schemes(ours), schemes(&*theirs));
                for scheme in schemes(ours) {
                    let signed = ours.choose_scheme(&[scheme]).unwrap().sign(b"message").unwrap();
                    assert!(verifies(&*theirs, scheme, &signed), "{scheme:?}");
                }
            }
        }
    }

    #[test]
    fn in_tls_1_2_a_key_on_any_curve_signs_with_any_hash() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512] {
            let generated = Generated::generate_for(algorithm).unwrap();
            let key = PrivateKey::parse(&PrivateKeyDer::Pkcs8(generated.serialize_der().into()), None).unwrap();
            for (scheme, _) in HASHES {
                let chosen = key.with_any_hash().unwrap().choose_scheme(&[scheme]).unwrap();
                assert_eq!(chosen.scheme(), scheme);
                let signature = chosen.sign(b"message").unwrap();
                assert!(verifies(&key, scheme, &signature), "{key:?} {scheme:?}");
            }
        }
    }

    #[test]
    fn a_key_that_is_printed_shows_its_algorithm_alone() {
        let generated = Generated::generate_for(&PKCS_ED25519).unwrap();
        let key = PrivateKey::parse(&PrivateKeyDer::Pkcs8(generated.serialize_der().into()), None).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey { algorithm: ED25519, .. }");
    }

    #[test]
    fn what_is_no_key_is_none() {
        assert!(PrivateKey::parse(&PrivateKeyDer::Pkcs8(vec![1, 2, 3].into()), None).is_none());
    }
}
