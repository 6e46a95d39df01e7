//! Checks what a Secret holds, without a store: what makes it unfit, and what is merely worth a word.

use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::details::{self, Details, KeyKind};
use crate::error::{Field, SecretError};
use crate::pem;
use crate::secret::{SecretData, SecretRef};
use crate::signing_key::PrivateKey;
use crate::warning::Warning;
use crate::{MAX_CHAIN, MAX_SECRET_BYTES};

/// Bits of RSA keys that are served: less is weak, more costs a handshake tens of milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a Secret that can be served holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What the leaf says.
    pub details: Details,
    /// Certificates in the chain, with the leaf.
    pub chain_length: usize,
    /// What is worth a word, though the certificate is served.
    pub warnings: Vec<Warning>,
}

/// Checks a Secret as a load does, for the server `names` that are to be answered with it, and keeps nothing.
pub fn inspect<N: AsRef<str>>(secret: &SecretRef, data: &SecretData, names: &[N]) -> Result<Inspection, SecretError> {
    let checked = check(secret, data)?;
    let warnings = checked.warnings(secret, names, SystemTime::now());
    Ok(Inspection { chain_length: checked.certified.cert.len(), details: checked.details, warnings })
}

/// A chain and its key that have passed.
pub(crate) struct Checked {
    pub(crate) certified: CertifiedKey,
    /// The one that `certified` signs with.
    pub(crate) key: PrivateKey,
    pub(crate) details: Details,
    pub(crate) kind: KeyKind,
}

impl Checked {
    /// What is worth a word, for these server names at this time.
    pub(crate) fn warnings<N: AsRef<str>>(&self, secret: &SecretRef, names: &[N], now: SystemTime) -> Vec<Warning> {
        let Details { not_before, not_after, .. } = self.details;
        let mut warnings = Vec::new();
        if not_after < now {
            warnings.push(Warning::Expired { secret: secret.clone(), not_after });
        }
        if not_before > now {
            warnings.push(Warning::NotYetValid { secret: secret.clone(), not_before });
        }
        for name in names.iter().map(AsRef::as_ref).filter(|name| !self.details.covers(name)) {
            warnings.push(Warning::not_covered(secret, name, &self.details));
        }
        warnings.extend(
            broken_link(&self.certified.cert).map(|position| Warning::ChainBroken { secret: secret.clone(), position }),
        );
        warnings
    }
}

/// Everything that makes a Secret unfit is found here.
pub(crate) fn check(secret: &SecretRef, data: &SecretData) -> Result<Checked, SecretError> {
    let bytes = data.certificate_chain.len() + data.private_key.len();
    if bytes > MAX_SECRET_BYTES {
        return Err(SecretError::TooLarge { secret: secret.clone(), bytes, limit: MAX_SECRET_BYTES });
    }
    let chain = read_chain(secret, &data.certificate_chain)?;
    let details = read_certificates(secret, &chain)?;
    let key = read_key(secret, data.private_key.expose(), details.key)?;
    let certified = CertifiedKey::new(chain, Arc::new(key.clone()));
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(SecretError::KeyMismatch { secret: secret.clone() }),
        Err(error) => return Err(unreadable(secret, 1, error.to_string())),
    }
    let kind = served_kind(secret, &details)?;
    Ok(Checked { certified, key, details, kind })
}

fn read_chain(secret: &SecretRef, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let chain = pem::certificates(text, MAX_CHAIN + 1).map_err(|fault| SecretError::Pem {
        secret: secret.clone(),
        field: Field::Certificate,
        fault,
    })?;
    match chain.len() {
        0 => Err(SecretError::NoCertificate { secret: secret.clone() }),
        1..=MAX_CHAIN => Ok(chain),
        _ => Err(SecretError::ChainTooLong { secret: secret.clone(), limit: MAX_CHAIN }),
    }
}

/// All of the chain must parse; the details are the leaf's.
fn read_certificates(secret: &SecretRef, chain: &[CertificateDer<'_>]) -> Result<Details, SecretError> {
    for (index, certificate) in chain.iter().enumerate().skip(1) {
        details::parse(certificate).map_err(|reason| unreadable(secret, index + 1, reason))?;
    }
    Details::parse(&chain[0]).map_err(|reason| unreadable(secret, 1, reason))
}

/// `expected` is the kind that the leaf says.
fn read_key(secret: &SecretRef, text: &[u8], expected: Option<KeyKind>) -> Result<PrivateKey, SecretError> {
    let key: Option<PrivateKeyDer<'static>> = pem::private_key(text).map_err(|fault| SecretError::Pem {
        secret: secret.clone(),
        field: Field::PrivateKey,
        fault,
    })?;
    let key = Zeroizing::new(key.ok_or_else(|| SecretError::NoPrivateKey { secret: secret.clone() })?);
    // The library's error says no more than that it failed.
    PrivateKey::parse(&key, expected)
        .ok_or_else(|| SecretError::UnsupportedKey { secret: secret.clone(), found: "the key in tls.key".to_owned() })
}

/// The key matches the leaf, so what the leaf says about its kind holds.
fn served_kind(secret: &SecretRef, details: &Details) -> Result<KeyKind, SecretError> {
    match details.key {
        Some(KeyKind::Rsa { bits }) if !RSA_BITS.contains(&bits) => {
            Err(SecretError::UnsupportedKey { secret: secret.clone(), found: format!("an RSA key of {bits} bits") })
        }
        Some(kind) => Ok(kind),
        None => Err(SecretError::UnsupportedKey { secret: secret.clone(), found: "this kind of key".to_owned() }),
    }
}

fn unreadable(secret: &SecretRef, position: usize, reason: String) -> SecretError {
    SecretError::Certificate { secret: secret.clone(), position, reason }
}

/// The position (1 is the leaf) of the first certificate whose issuer is not the subject of the next.
fn broken_link(chain: &[CertificateDer<'_>]) -> Option<usize> {
    chain
        .windows(2)
        .position(|pair| {
            let (Ok(lower), Ok(upper)) = (details::parse(&pair[0]), details::parse(&pair[1])) else { return true };
            lower.issuer().as_raw() != upper.subject().as_raw()
        })
        .map(|index| index + 1)
}
