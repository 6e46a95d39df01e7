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
    /// A section has no end.
    #[error("a section that begins has no matching \"-----END ...-----\" line")]
    MissingEnd,
    /// A line begins like a section but is none.
    #[error("a line begins with \"-----BEGIN\" but does not end with \"-----\"")]
    IllegalStart,
    /// What stands in a section is not base64.
    #[error("a section is not base64")]
    Base64,
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
    #[error(
        "secret {secret}: tls.crt has no \"BEGIN CERTIFICATE\" section, the leaf certificate must come first in it"
    )]
    NoCertificate {
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
    /// One of the certificates can't be read.
    #[error("secret {secret}: certificate {position} of tls.crt is no X.509 certificate: {reason}")]
    Certificate {
        /// Which Secret.
        secret: SecretRef,
        /// 1 is the leaf.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// No private key in `tls.key`.
    #[error(
        "secret {secret}: tls.key has no \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\" section"
    )]
    NoPrivateKey {
        /// Which Secret.
        secret: SecretRef,
    },
    /// A kind of key that isn't served.
    #[error(
        "secret {secret}: {found} is not served, ECDSA P-256 or P-384, RSA of 2048 to 4096 bits and Ed25519 (in PKCS#8) are"
    )]
    UnsupportedKey {
        /// Which Secret.
        secret: SecretRef,
        /// What was found, as far as it could be read.
        found: String,
    },
    /// The private key does not belong to the first certificate of the chain.
    #[error("secret {secret}: tls.key does not match the first certificate in tls.crt")]
    KeyMismatch {
        /// Which Secret.
        secret: SecretRef,
    },
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

    /// True when it says nothing about the Secret, but that it cannot be had now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Source { source, .. } if matches!(**source, SourceError::Unavailable { .. }))
    }
}
