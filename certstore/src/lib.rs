//! A memory-bounded store of TLS server certificates: *which certificate answers for this server name, right now?*

pub mod index;
pub mod secret;
pub mod sni;
pub mod source;

pub use index::{TlsBinding, TlsIndex};
pub use secret::{PrivateKeyPem, SecretData, SecretRef};
pub use sni::{SniError, SniPattern};
pub use source::{SecretSource, SourceError};

/// The most bytes of PEM, chain and key together, that are accepted of one Secret.
///
/// The API server's own limit is 1 MiB; ten certificates and an RSA-4096 key are under 64 KiB.
pub const MAX_SECRET_BYTES: usize = 256 * 1024;
