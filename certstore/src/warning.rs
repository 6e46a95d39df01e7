//! What is wrong with a certificate that is served nevertheless.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::details::{Details, unix_seconds};
use crate::error::Field;
use crate::secret::SecretRef;

/// Names of a certificate that a warning shows; some have hundreds.
const NAMES_SHOWN: usize = 5;

/// What is wrong with a certificate that is served nevertheless: refusing it would take away more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Clients will refuse it: it is over.
    #[error("secret {secret}: the certificate expired at {}", date(*not_after))]
    Expired {
        /// Which Secret.
        secret: SecretRef,
        /// Its end.
        not_after: SystemTime,
    },
    /// Clients will refuse it: it begins later.
    #[error("secret {secret}: the certificate is not valid before {}", date(*not_before))]
    NotYetValid {
        /// Which Secret.
        secret: SecretRef,
        /// Its beginning.
        not_before: SystemTime,
    },
    /// Clients that ask for this name will refuse it.
    #[error("secret {secret}: the certificate does not cover {name}, its names are {names}")]
    NameNotCovered {
        /// Which Secret.
        secret: SecretRef,
        /// The configured name.
        name: String,
        /// The certificate's names, the first few.
        names: String,
    },
    /// Clients that do not know the intermediate will refuse it.
    #[error("secret {secret}: certificate {position} of tls.crt was not issued by the one that follows it")]
    ChainBroken {
        /// Which Secret.
        secret: SecretRef,
        /// Its position, counted from 1.
        position: usize,
    },
    /// The key identified the leaf, and the issuers the order of the rest.
    #[error(
        "secret {secret}: the certificates of tls.crt are sent in the order {}, the leaf first, then each one's issuer{}",
        list(sent),
        left_out(repeated)
    )]
    ChainReordered {
        /// Which Secret.
        secret: SecretRef,
        /// Positions in `tls.crt`, counted from 1, in the order in which they are sent.
        sent: Vec<usize>,
        /// Positions of those that repeat others.
        repeated: Vec<usize>,
    },
    /// Clients that do not have the intermediate will refuse it.
    #[error("secret {secret}: tls.crt has no intermediate: add the certificate of {issuer}, which issued the leaf")]
    ChainIncomplete {
        /// Which Secret.
        secret: SecretRef,
        /// The leaf's issuer.
        issuer: String,
    },
    /// Clients will refuse it: its signature can be forged.
    #[error("secret {secret}: certificate {position} of tls.crt is signed with {hash}, which most clients refuse")]
    WeakSignature {
        /// Which Secret.
        secret: SecretRef,
        /// Its position, counted from 1.
        position: usize,
        /// The hash.
        hash: &'static str,
    },
    /// Something in a field is not read.
    #[error("secret {secret}: {field} has what is not read: {what}")]
    Unread {
        /// Which Secret.
        secret: SecretRef,
        /// Which field.
        field: Field,
        /// The label of a PEM block, or in words.
        what: String,
    },
}

/// As people read it.
fn date(time: SystemTime) -> String {
    Timestamp::from_second(unix_seconds(time))
        .map_or_else(|_| "a date out of range".to_owned(), |time| time.to_string())
}

fn list(positions: &[usize]) -> String {
    positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn left_out(repeated: &[usize]) -> String {
    if repeated.is_empty() { String::new() } else { format!("; left out, since repeated: {}", list(repeated)) }
}

impl Warning {
    pub(crate) fn not_covered(secret: &SecretRef, name: &str, details: &Details) -> Self {
        let shown = details.names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let names = match details.names.len() {
            0 => "none".to_owned(),
            1..=NAMES_SHOWN => shown,
            all => format!("{shown} and {} more", all - NAMES_SHOWN),
        };
        Self::NameNotCovered { secret: secret.clone(), name: name.to_owned(), names }
    }

    /// Which Secret it is about.
    pub fn secret(&self) -> &SecretRef {
        match self {
            Self::Expired { secret, .. }
            | Self::NotYetValid { secret, .. }
            | Self::NameNotCovered { secret, .. }
            | Self::ChainBroken { secret, .. }
            | Self::ChainReordered { secret, .. }
            | Self::ChainIncomplete { secret, .. }
            | Self::WeakSignature { secret, .. }
            | Self::Unread { secret, .. } => secret,
        }
    }

    /// As a label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::NameNotCovered { .. } => "name_not_covered",
            Self::ChainBroken { .. } => "chain_broken",
            Self::ChainReordered { .. } => "chain_reordered",
            Self::ChainIncomplete { .. } => "chain_incomplete",
            Self::WeakSignature { .. } => "weak_signature",
            Self::Unread { .. } => "unread",
        }
    }
}
