//! Checks what a Secret holds, without a store: what makes it unfit, and what is merely worth a word.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use crate::chain::{self, Order};
use crate::details::{self, Details, KeyKind};
use crate::error::{Field, SecretError};
use crate::found;
use crate::key_info::KeyInfo;
use crate::pem::{self, Contents, Wanted};
use crate::secret::{SecretData, SecretRef};
use crate::signing_key::PrivateKey;
use crate::warning::Warning;
use crate::{MAX_CERTIFICATE_BYTES, MAX_CHAIN, MAX_SECRET_BYTES};

/// Bits of RSA keys that are served: less is weak, and the library signs with no more.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

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
    /// What is worth a word whatever the names and the time.
    standing: Vec<Warning>,
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
        warnings.extend(self.standing.iter().cloned());
        warnings
    }
}

/// Everything that makes a Secret unfit is found here.
pub(crate) fn check(secret: &SecretRef, data: &SecretData) -> Result<Checked, SecretError> {
    let bytes = data.certificate_chain.len() + data.private_key.len();
    if bytes > MAX_SECRET_BYTES {
        return Err(SecretError::TooLarge { secret: secret.clone(), bytes, limit: MAX_SECRET_BYTES });
    }
    let fields = Fields::read(secret, data)?;
    let parsed = parse_all(secret, &fields.chain.certificates)?;
    let key = fields.private_key(secret, &KeyInfo::of_certificate(parsed[0].public_key()))?;
    let leaf = leaf_of(secret, &parsed, &key)?;
    let order = chain::order(&parsed, leaf).map_err(|stray| SecretError::ChainOrder {
        secret: secret.clone(),
        leaf: leaf + 1,
        stray: stray + 1,
    })?;
    let details = Details::read(&parsed[leaf])
        .map_err(|reason| unreadable(secret, leaf, &fields.chain.certificates[leaf], reason))?;
    let kind = served_kind(secret, &KeyInfo::of_certificate(parsed[leaf].public_key()))?;
    let mut standing = chain::warnings(secret, &parsed, &order);
    standing.extend(fields.unread(secret));
    let certified = CertifiedKey::new(fields.into_chain(&order), Arc::new(key.clone()));
    Ok(Checked { certified, key, details, kind, standing })
}

/// What the two fields of a Secret hold.
struct Fields {
    chain: Contents,
    key: Contents,
    /// What `tls.key` holds if it has no block.
    raw_key: String,
}

impl Fields {
    fn read(secret: &SecretRef, data: &SecretData) -> Result<Self, SecretError> {
        let fault = |field| move |fault| SecretError::Pem { secret: secret.clone(), field, fault };
        let chain = pem::read(&data.certificate_chain, Wanted::Certificates, MAX_CHAIN + 1);
        let chain = chain.map_err(fault(Field::Certificate))?;
        let key = pem::read(data.private_key.expose(), Wanted::KeyAndCertificates, MAX_CHAIN);
        if chain.certificates.is_empty() {
            let is_swapped = chain.more_keys > 0 && key.is_ok_and(|key| !key.certificates.is_empty());
            let secret = secret.clone();
            return Err(if is_swapped {
                SecretError::Swapped { secret }
            } else {
                SecretError::NoCertificate { secret, found: in_words(&chain, &data.certificate_chain) }
            });
        }
        if chain.certificates.len() > MAX_CHAIN {
            return Err(SecretError::ChainTooLong { secret: secret.clone(), limit: MAX_CHAIN });
        }
        let key = key.map_err(fault(Field::PrivateKey))?;
        let raw_key = if key.key.is_none() { in_words(&key, data.private_key.expose()) } else { String::new() };
        Ok(Self { chain, key, raw_key })
    }

    /// `expected` is what the first certificate says.
    fn private_key(&self, secret: &SecretRef, expected: &KeyInfo) -> Result<PrivateKey, SecretError> {
        let secret = || secret.clone();
        let Some(der) = &self.key.key else {
            return Err(match &self.key.encrypted {
                Some(how) => SecretError::EncryptedKey { secret: secret(), how: how.clone() },
                None => SecretError::NoPrivateKey { secret: secret(), found: self.raw_key.clone() },
            });
        };
        if let Some(key) = PrivateKey::parse(der, expected.kind()) {
            return Ok(key);
        }
        // The library's error says no more than that it failed.
        let bytes = der.secret_der().len();
        Err(match KeyInfo::of_private_key(der) {
            Some(KeyInfo::Known(kind)) if is_served(kind) => {
                SecretError::DamagedKey { secret: secret(), found: KeyInfo::Known(kind).to_string() }
            }
            Some(found) => SecretError::UnsupportedKey { secret: secret(), found: found.to_string() },
            None => SecretError::DamagedKey { secret: secret(), found: format!("a block of {bytes} bytes") },
        })
    }

    /// What is passed over in both fields.
    fn unread(&self, secret: &SecretRef) -> Vec<Warning> {
        let of = |field| move |what: String| Warning::Unread { secret: secret.clone(), field, what };
        let mut unread: Vec<_> = self.chain.unread.iter().cloned().map(of(Field::Certificate)).collect();
        unread.extend(self.key.unread.iter().cloned().map(of(Field::PrivateKey)));
        let elsewhere = self.key.certificates.iter().filter(|der| !self.chain.certificates.contains(der)).count();
        if elsewhere > 0 {
            unread.push(of(Field::PrivateKey)(format!("{elsewhere} certificates that tls.crt does not have")));
        }
        if self.key.more_keys > 0 {
            unread.push(of(Field::PrivateKey)("a second private key".to_owned()));
        }
        unread
    }

    fn into_chain(mut self, order: &Order) -> Vec<CertificateDer<'static>> {
        let chain = &mut self.chain.certificates;
        order.sent.iter().map(|at| std::mem::replace(&mut chain[*at], CertificateDer::from(Vec::new()))).collect()
    }
}

/// A key that was read is wiped.
impl Drop for Fields {
    fn drop(&mut self) {
        drop(self.key.key.take().map(Zeroizing::new));
    }
}

/// What a field holds that lacks what belongs there.
fn in_words(contents: &Contents, text: &[u8]) -> String {
    let mut blocks = contents.unread.clone();
    if !contents.certificates.is_empty() {
        blocks.push(format!("{} certificates", contents.certificates.len()));
    }
    if contents.more_keys > 0 || contents.encrypted.is_some() {
        blocks.push("a private key".to_owned());
    }
    if blocks.is_empty() {
        found::describe(text)
    } else {
        format!("{} and nothing else that is read", blocks.join(", "))
    }
}

/// All of the chain must parse.
fn parse_all<'a>(
    secret: &SecretRef,
    chain: &'a [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'a>>, SecretError> {
    let parse = |(at, der): (usize, &'a CertificateDer<'static>)| {
        let (bytes, limit) = (der.len(), MAX_CERTIFICATE_BYTES);
        if bytes > limit {
            return Err(SecretError::CertificateTooLarge { secret: secret.clone(), position: at + 1, bytes, limit });
        }
        details::parse(der).map_err(|reason| unreadable(secret, at, der, reason))
    };
    chain.iter().enumerate().map(parse).collect()
}

/// The first certificate that the key belongs to.
fn leaf_of(secret: &SecretRef, chain: &[X509Certificate<'_>], key: &PrivateKey) -> Result<usize, SecretError> {
    let is_of_key =
        |certificate: &X509Certificate<'_>| *certificate.public_key().subject_public_key.data == *key.public_bits();
    chain.iter().position(is_of_key).ok_or_else(|| SecretError::KeyMismatch {
        secret: secret.clone(),
        key: key.info().to_string(),
        leaf: KeyInfo::of_certificate(chain[0].public_key()).to_string(),
    })
}

/// The key matches the leaf, so what the leaf says about its kind holds.
fn served_kind(secret: &SecretRef, leaf: &KeyInfo) -> Result<KeyKind, SecretError> {
    let unsupported = || SecretError::UnsupportedKey { secret: secret.clone(), found: leaf.to_string() };
    leaf.kind().filter(|kind| is_served(*kind)).ok_or_else(unsupported)
}

fn is_served(kind: KeyKind) -> bool {
    !matches!(kind, KeyKind::Rsa { bits } if !RSA_BITS.contains(&bits))
}

fn unreadable(secret: &SecretRef, at: usize, der: &CertificateDer<'_>, reason: String) -> SecretError {
    SecretError::Certificate { secret: secret.clone(), position: at + 1, bytes: der.len(), reason }
}
