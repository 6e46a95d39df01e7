//! A certificate authority for tests: it signs at once, and whom it signs for is its own business.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use rustls::RootCertStore;

use crate::Result;

/// An authority with a key of its own.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    next_serial: AtomicU64,
}

/// A certificate with its key, as a Secret holds them.
#[derive(Clone)]
pub struct Issued {
    /// The certificate in PEM (the authority's own is not in the chain).
    pub chain: String,
    /// The private key in PEM, PKCS#8.
    pub key: String,
    /// The serial number; no two certificates of an authority share one.
    pub serial: u64,
}

impl TestCa {
    /// A new authority.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "Postern test CA");
        let issuer = CertifiedIssuer::self_signed(params, new_key()?)?;
        Ok(Self { issuer, next_serial: AtomicU64::new(1_000) })
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// What a client needs to trust this authority, and nothing else.
    pub fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        Ok(Arc::new(roots))
    }

    /// A certificate for these names (a name may be a wildcard) with a new ECDSA P-256 key.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        self.issue_with_key(names, &new_key()?)
    }

    /// A certificate for these names with this key.
    pub fn issue_with_key(&self, names: &[&str], key: &KeyPair) -> Result<Issued> {
        self.sign(Self::params(names)?, key)
    }

    /// A certificate for these names that was valid in 2001, with a new key.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Issued> {
        let mut params = Self::params(names)?;
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 12, 31);
        self.sign(params, &new_key()?)
    }

    fn params(names: &[&str]) -> Result<CertificateParams> {
        Ok(CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?)
    }

    fn sign(&self, mut params: CertificateParams, key: &KeyPair) -> Result<Issued> {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem(), key: key.serialize_pem(), serial })
    }
}

/// A new ECDSA P-256 key.
pub fn new_key() -> Result<KeyPair> {
    KeyKind::P256.generate()
}

/// The kinds of keys that certificates have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA with 2048 bits.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    /// A new key.
    pub fn generate(self) -> Result<KeyPair> {
        Ok(match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
        })
    }
}

impl Issued {
    /// The lines of the key between its PEM markers: what must never be found anywhere.
    pub fn key_body_lines(&self) -> impl Iterator<Item = &str> {
        self.key.lines().filter(|line| !line.starts_with("-----") && !line.is_empty())
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("serial", &self.serial).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_one_authority_differ_in_serial() {
        let ca = TestCa::new().unwrap();
        assert_ne!(ca.issue(&["a.test"]).unwrap().serial, ca.issue(&["a.test"]).unwrap().serial);
    }

    #[test]
    fn debug_output_shows_no_key() {
        let issued = TestCa::new().unwrap().issue(&["a.test"]).unwrap();
        let shown = format!("{issued:?}");
        assert!(issued.key_body_lines().all(|line| !shown.contains(line)));
    }
}
