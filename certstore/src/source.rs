//! Where Secrets come from: the one thing that this crate asks of its surroundings.

use futures_util::future::BoxFuture;

use crate::secret::{SecretData, SecretRef};

/// Delivers the present content of a Secret.
///
/// Called only for Secrets that somebody asked for, at most once at a time for each, and never more often than
/// [`Builder::load_concurrency`](crate::Builder::load_concurrency) and
/// [`Builder::reload_concurrency`](crate::Builder::reload_concurrency) allow at a time.
///
/// The future may be dropped at any await point: at the load's limit, or when the Secret is removed meanwhile. It should
/// bound what it reads: more than [`MAX_SECRET_BYTES`](crate::MAX_SECRET_BYTES) is refused anyway.
pub trait SecretSource: Send + Sync + 'static {
    /// The Secret as it is now: never older than the last change that was reported before the call.
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>>;
}

/// Why a source could not deliver a Secret.
///
/// The name of the Secret is not repeated here: whoever asked knows it, and [`CertError`](crate::CertError) adds it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such Secret. A cached certificate is given up.
    #[error("there is no such secret")]
    NotFound,
    /// It exists, and we may not read it. A cached certificate is given up.
    #[error("reading it is not permitted")]
    Forbidden,
    /// It exists but lacks what is needed, such as the field `tls.key`.
    #[error("it is not a TLS secret: {reason}")]
    Malformed {
        /// What is missing or wrong; never content of the key.
        reason: String,
    },
    /// It holds more than a source is willing to read.
    #[error("it has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The source can't tell now. A cached certificate goes on serving.
    #[error("the source of secrets is not available")]
    Unavailable {
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// True when the Secret is gone for us, so that serving its certificate must end.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NotFound | Self::Forbidden)
    }
}
