//! The one `ServerConfig` that all handshakes share.
//!
//! rustls asks it for a certificate in the middle of a handshake, synchronously, and again after a `HelloRetryRequest`. By
//! then the certificate is loaded: it waits in a task-local.

use std::sync::Arc;

use certstore::SecretRef;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite, kx_group};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::tickets::BoundTickets;
use super::{Settings, TlsVersion};

tokio::task_local! {
    /// What the handshake of this task is answered with.
    pub(super) static SELECTED: Selected;
}

/// A certificate that was chosen for a handshake, and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) secret: SecretRef,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The provider doesn't know the versions or suites asked for.
    #[error("TLS: the cryptography library does not support the settings")]
    Unsupported(#[source] rustls::Error),
    /// There is no randomness for ticket keys.
    #[error("TLS: cannot create keys for session tickets")]
    Tickets(#[source] rustls::Error),
}

/// Gives rustls what was selected; without it (which no path leads to) the handshake fails.
#[derive(Debug)]
struct SelectedKey;

impl ResolvesServerCert for SelectedKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SELECTED.try_with(|selected| Arc::clone(&selected.key)).ok()
    }
}

/// The configuration for `settings`.
pub(super) fn server_config(settings: &Settings) -> Result<Arc<ServerConfig>, ConfigError> {
    let versions = match settings.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
        TlsVersion::Tls13 => &[&TLS13][..],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions)
        .map_err(ConfigError::Unsupported)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SelectedKey));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if settings.http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    // Our order of suites counts: clients that ask for AES-256 first make the handshake hash SHA-384, a tenth of its cost.
    config.ignore_client_order = true;
    config.ticketer = Arc::new(BoundTickets::new(Ticketer::new().map_err(ConfigError::Tickets)?));
    config.send_tls13_tickets = 1;
    // Tickets hold all state with the client; sessions kept here would be unbound and take memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    }
}
