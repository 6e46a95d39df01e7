//! What is wrong with a certificate that is served nevertheless.

use std::time::SystemTime;

use crate::details::{Details, unix_seconds};
use crate::secret::SecretRef;

/// Names of a certificate that a warning shows; some have hundreds.
const NAMES_SHOWN: usize = 5;

/// What is wrong with a certificate that is served nevertheless: refusing it would take away more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Clients will refuse it: it is over.
    #[error("secret {secret}: the certificate expired at unix time {}", unix_seconds(*not_after))]
    Expired {
        /// Which Secret.
        secret: SecretRef,
        /// Its end.
        not_after: SystemTime,
    },
    /// Clients will refuse it: it begins later.
    #[error("secret {secret}: the certificate is valid only from unix time {}", unix_seconds(*not_before))]
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
        /// 1 is the leaf.
        position: usize,
    },
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

    /// As a label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::NameNotCovered { .. } => "name_not_covered",
            Self::ChainBroken { .. } => "chain_broken",
        }
    }
}
