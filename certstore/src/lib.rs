//! A memory-bounded store of TLS server certificates: *which certificate answers for this server name, right now?*

mod certificate;
mod details;
mod error;
pub mod index;
mod inspect;
mod intermediates;
mod metrics;
mod pem;
pub mod secret;
pub mod sni;
pub mod source;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod warning;
mod weight;

pub use certificate::Certificate;
pub use details::{Details, KeyKind};
pub use error::{CertError, Field, PemFault, SecretError};
pub use index::{TlsBinding, TlsIndex};
pub use inspect::{Inspection, inspect};
pub use metrics::describe_metrics;
pub use secret::{PrivateKeyPem, SecretData, SecretRef};
pub use sni::{SniError, SniPattern};
pub use source::{SecretSource, SourceError};
pub use store::{Builder, CertStore, EntryInfo, RefusalInfo, Stats};
pub use warning::Warning;

/// The most bytes of PEM, chain and key together, that are accepted of one Secret.
///
/// The API server's own limit is 1 MiB; ten certificates and an RSA-4096 key are under 64 KiB.
pub const MAX_SECRET_BYTES: usize = 256 * 1024;

/// The most certificates in a chain, with the leaf. OpenSSL and browsers stop at about ten as well.
pub const MAX_CHAIN: usize = 10;
