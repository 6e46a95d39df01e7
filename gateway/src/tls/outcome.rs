//! How a handshake ended, for metrics and logs.

use std::io;

use certstore::{CertError, SecretRef};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client closed, or sent nothing, before its `ClientHello`.
    #[error("the client sent no ClientHello")]
    NoHello,
    /// The `ClientHello` was larger than it may be.
    #[error("the client sent more than a handshake may take")]
    TooLarge,
    /// Time was up.
    #[error("the handshake took too long")]
    TimedOut,
    /// Memory runs short.
    #[error("memory runs short")]
    Overload,
    /// It is no TLS, or none we speak.
    #[error("the ClientHello is not valid")]
    BadHello(#[source] io::Error),
    /// No server name, and no default certificate.
    #[error("the client sent no server name")]
    NoServerName,
    /// A server name nothing is configured for on this listener, and no default certificate.
    #[error("no certificate is configured for server name {server_name:?}")]
    UnknownServerName {
        /// The name asked for.
        server_name: String,
    },
    /// The certificate could not be had.
    #[error("secret {secret}: no certificate to answer with")]
    Certificate {
        /// Where it should come from.
        secret: SecretRef,
        /// What went wrong.
        source: CertError,
    },
    /// The client and we found no way, or it gave up.
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

/// How a handshake ended, without what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    NoHello,
    TooLarge,
    TimedOut,
    Overload,
    BadHello,
    NoServerName,
    UnknownServerName,
    Certificate,
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 10] = [
        Self::Ok,
        Self::NoHello,
        Self::TooLarge,
        Self::TimedOut,
        Self::Overload,
        Self::BadHello,
        Self::NoServerName,
        Self::UnknownServerName,
        Self::Certificate,
        Self::Failed,
    ];

    /// The `outcome` label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoHello => "no_hello",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Overload => "overload",
            Self::BadHello => "bad_hello",
            Self::NoServerName => "no_server_name",
            Self::UnknownServerName => "unknown_server_name",
            Self::Certificate => "certificate",
            Self::Failed => "failed",
        }
    }
}

impl HandshakeError {
    pub(super) const fn outcome(&self) -> Outcome {
        match self {
            Self::NoHello => Outcome::NoHello,
            Self::TooLarge => Outcome::TooLarge,
            Self::TimedOut => Outcome::TimedOut,
            Self::Overload => Outcome::Overload,
            Self::BadHello(_) => Outcome::BadHello,
            Self::NoServerName => Outcome::NoServerName,
            Self::UnknownServerName { .. } => Outcome::UnknownServerName,
            Self::Certificate { .. } => Outcome::Certificate,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}
