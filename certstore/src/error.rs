//! What can be wrong with a Secret, and why a certificate could not be had.

use std::sync::Arc;
use std::time::Duration;

use crate::secret::SecretRef;
use crate::source::SourceError;

/// A field of a TLS Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `tls.crt`, the chain.
    Certificate,
    /// `tls.key`, the private key.
    PrivateKey,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "tls.crt",
            Self::PrivateKey => "tls.key",
        })
    }
}

/// What is wrong with a PEM text. Holds none of it: a line of a broken `tls.key` may be the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemFault {
    /// A block has no end.
    #[error("the block that begins in line {line} has no matching \"-----END ...-----\" line")]
    MissingEnd {
        /// The line of its begin, counted from 1.
        line: usize,
    },
    /// A line begins like a block but is none.
    #[error("line {line} begins with \"-----BEGIN\" but does not end with \"-----\"")]
    IllegalStart {
        /// The line, counted from 1.
        line: usize,
    },
    /// What stands in a block is not base64.
    #[error("the block that begins in line {line} is not base64")]
    Base64 {
        /// The line of its begin, counted from 1.
        line: usize,
    },
}

/// Why a Secret cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Chain and key together are larger than any in use.
    #[error("secret {secret}: tls.crt and tls.key have {bytes} bytes together, at most {limit} are accepted")]
    TooLarge {
        /// Which Secret.
        secret: SecretRef,
        /// Bytes of both.
        bytes: usize,
        /// [`MAX_SECRET_BYTES`](crate::MAX_SECRET_BYTES).
        limit: usize,
    },
    /// A field is not PEM.
    #[error("secret {secret}: {field} is not PEM")]
    Pem {
        /// Which Secret.
        secret: SecretRef,
        /// Which field.
        field: Field,
        /// What is wrong.
        #[source]
        fault: PemFault,
    },
    /// No certificate in `tls.crt`.
    #[error("secret {secret}: tls.crt holds {found}, expected \"BEGIN CERTIFICATE\" blocks, the leaf first")]
    NoCertificate {
        /// Which Secret.
        secret: SecretRef,
        /// What it holds.
        found: String,
    },
    /// The key is in `tls.crt` and the chain in `tls.key`.
    #[error("secret {secret}: tls.crt holds a private key and tls.key certificates, expected them the other way round")]
    Swapped {
        /// Which Secret.
        secret: SecretRef,
    },
    /// More certificates than any chain in use has.
    #[error("secret {secret}: tls.crt has more than {limit} certificates, a chain is the leaf and its intermediates")]
    ChainTooLong {
        /// Which Secret.
        secret: SecretRef,
        /// [`MAX_CHAIN`](crate::MAX_CHAIN).
        limit: usize,
    },
    /// One of the certificates is larger than clients accept.
    #[error("secret {secret}: certificate {position} of tls.crt has {bytes} bytes, at most {limit} are accepted")]
    CertificateTooLarge {
        /// Which Secret.
        secret: SecretRef,
        /// Its position, counted from 1.
        position: usize,
        /// Its bytes, in DER.
        bytes: usize,
        /// [`MAX_CERTIFICATE_BYTES`](crate::MAX_CERTIFICATE_BYTES).
        limit: usize,
    },
    /// One of the certificates can't be read.
    #[error("secret {secret}: certificate {position} of tls.crt ({bytes} bytes) is no X.509 certificate: {reason}")]
    Certificate {
        /// Which Secret.
        secret: SecretRef,
        /// Its position, counted from 1.
        position: usize,
        /// Its bytes, in DER.
        bytes: usize,
        /// What the parser says.
        reason: String,
    },
    /// The key belongs to a certificate that is not the first, and the others are not its chain.
    #[error(
        "secret {secret}: tls.key belongs to certificate {leaf} of tls.crt, and certificate {stray} is not in its chain: \
         expected the leaf first, then each certificate's issuer"
    )]
    ChainOrder {
        /// Which Secret.
        secret: SecretRef,
        /// The position of the leaf, counted from 1.
        leaf: usize,
        /// The position of a certificate that has no place.
        stray: usize,
    },
    /// No private key in `tls.key`.
    #[error(
        "secret {secret}: tls.key holds {found}, expected a \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN \
         EC PRIVATE KEY\" block"
    )]
    NoPrivateKey {
        /// Which Secret.
        secret: SecretRef,
        /// What it holds.
        found: String,
    },
    /// The private key is encrypted.
    #[error("secret {secret}: the private key in tls.key is encrypted ({how}), expected one without a passphrase")]
    EncryptedKey {
        /// Which Secret.
        secret: SecretRef,
        /// PKCS#8, or the headers of the older form.
        how: String,
    },
    /// A kind or size of key that isn't served.
    #[error(
        "secret {secret}: {found} is not served, ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192 bits and Ed25519 (in \
         PKCS#8) are"
    )]
    UnsupportedKey {
        /// Which Secret.
        secret: SecretRef,
        /// Kind and size.
        found: String,
    },
    /// A key of a kind that is served, with contents that cannot be.
    #[error("secret {secret}: tls.key holds {found} that is damaged: its parts do not fit together")]
    DamagedKey {
        /// Which Secret.
        secret: SecretRef,
        /// Kind and size.
        found: String,
    },
    /// The private key does not belong to a certificate of the chain.
    #[error(
        "secret {secret}: tls.key does not match the first certificate in tls.crt, nor another one in it: it holds {key}, and \
         that certificate is for {leaf}"
    )]
    KeyMismatch {
        /// Which Secret.
        secret: SecretRef,
        /// Kind and size of the private key.
        key: String,
        /// Kind and size of the first certificate's.
        leaf: String,
    },
}

impl SecretError {
    /// The field that is wrong, where it is one of them.
    pub fn field(&self) -> Option<Field> {
        match self {
            Self::Pem { field, .. } => Some(*field),
            Self::NoCertificate { .. }
            | Self::ChainTooLong { .. }
            | Self::CertificateTooLarge { .. }
            | Self::Certificate { .. }
            | Self::ChainOrder { .. } => Some(Field::Certificate),
            Self::NoPrivateKey { .. }
            | Self::EncryptedKey { .. }
            | Self::UnsupportedKey { .. }
            | Self::DamagedKey { .. } => Some(Field::PrivateKey),
            Self::TooLarge { .. } | Self::Swapped { .. } | Self::KeyMismatch { .. } => None,
        }
    }

    /// As a label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Pem { .. } => "pem",
            Self::NoCertificate { .. } => "no_certificate",
            Self::Swapped { .. } => "swapped",
            Self::ChainTooLong { .. } => "chain_too_long",
            Self::CertificateTooLarge { .. } => "certificate_too_large",
            Self::Certificate { .. } => "certificate",
            Self::ChainOrder { .. } => "chain_order",
            Self::NoPrivateKey { .. } => "no_private_key",
            Self::EncryptedKey { .. } => "encrypted_key",
            Self::UnsupportedKey { .. } => "unsupported_key",
            Self::DamagedKey { .. } => "damaged_key",
            Self::KeyMismatch { .. } => "key_mismatch",
        }
    }
}

/// Why there is no certificate for a handshake.
///
/// Cheap to clone: all handshakes that waited for one load get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The source could not deliver the Secret.
    #[error("secret {secret}: cannot be read")]
    Source {
        /// Which Secret.
        secret: SecretRef,
        /// What the source says.
        source: Arc<SourceError>,
    },
    /// The Secret was delivered and cannot be served.
    #[error(transparent)]
    Secret(#[from] Arc<SecretError>),
    /// The load took longer than a handshake may wait, or than a load may take.
    #[error("secret {secret}: not loaded within {} ms", after.as_millis())]
    Deadline {
        /// Which Secret.
        secret: SecretRef,
        /// How long was waited.
        after: Duration,
    },
    /// Too many handshakes wait for loads already.
    #[error(
        "secret {secret}: not loaded, {waiting} handshakes are waiting for certificates, which is the most allowed"
    )]
    Overloaded {
        /// Which Secret.
        secret: SecretRef,
        /// How many wait.
        waiting: usize,
    },
    /// The client, or all together, asked for more certificates that are not cached than may be loaded.
    #[error(
        "secret {secret}: not loaded, more certificates are asked for than may be loaded; {waited_ms} ms were waited for a turn"
    )]
    Throttled {
        /// Which Secret.
        secret: SecretRef,
        /// Milliseconds that the handshake has waited.
        waited_ms: u64,
    },
    /// The Secret was removed while it was being loaded.
    #[error("secret {secret}: was removed while it was being loaded")]
    Removed {
        /// Which Secret.
        secret: SecretRef,
    },
    /// The load ended without a result: the store was dropped, or its source panicked.
    #[error("secret {secret}: the load was abandoned")]
    Abandoned {
        /// Which Secret.
        secret: SecretRef,
    },
}

impl CertError {
    /// As a label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Source { source, .. } => match **source {
                SourceError::NotFound => "not_found",
                SourceError::Forbidden => "forbidden",
                SourceError::Malformed { .. } => "malformed",
                SourceError::TooLarge { .. } => "too_large",
                SourceError::Unavailable { .. } => "unavailable",
            },
            Self::Deadline { .. } => "deadline",
            Self::Overloaded { .. } => "overloaded",
            Self::Throttled { .. } => "throttled",
            Self::Removed { .. } => "removed",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// True when nothing is known of the Secret as it is now: its source did not answer.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Source { source, .. } => matches!(**source, SourceError::Unavailable { .. }),
            Self::Deadline { .. } => true,
            _ => false,
        }
    }

    /// True when the Secret is gone for us: an entry that is cached must go too.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Source { source, .. } => source.is_gone(),
            Self::Removed { .. } => true,
            _ => false,
        }
    }

    /// True when it tells something of the Secret that its owner can mend. That there is none is said of whoever names it.
    pub(crate) fn is_fault(&self) -> bool {
        let is_denied = matches!(self, Self::Source { source, .. } if matches!(**source, SourceError::Forbidden));
        is_denied || self.is_rejection()
    }

    /// True when the Secret was delivered, and what it holds cannot be served.
    pub(crate) fn is_rejection(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::Source { source, .. } => {
                matches!(**source, SourceError::Malformed { .. } | SourceError::TooLarge { .. })
            }
            _ => false,
        }
    }

    /// True when it says nothing about the Secret, but that it cannot be had now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Source { source, .. } if matches!(**source, SourceError::Unavailable { .. }))
    }
}
