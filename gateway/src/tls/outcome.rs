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
    /// The client speaks older versions of TLS only than may be spoken.
    #[error("the client speaks no version of TLS that is allowed here")]
    OldVersion,
    /// It is no TLS.
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
    /// The certificate's key signs by no scheme that the client offers.
    #[error("secret {secret}: its key signs by no scheme that the client offers")]
    NoSignatureScheme {
        /// Where the certificate is from.
        secret: SecretRef,
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
    OldVersion,
    BadHello,
    NoServerName,
    UnknownServerName,
    Certificate,
    NoSignatureScheme,
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 12] = [
        Self::Ok,
        Self::NoHello,
        Self::TooLarge,
        Self::TimedOut,
        Self::Overload,
        Self::OldVersion,
        Self::BadHello,
        Self::NoServerName,
        Self::UnknownServerName,
        Self::Certificate,
        Self::NoSignatureScheme,
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
            Self::OldVersion => "old_version",
            Self::BadHello => "bad_hello",
            Self::NoServerName => "no_server_name",
            Self::UnknownServerName => "unknown_server_name",
            Self::Certificate => "certificate",
            Self::NoSignatureScheme => "no_signature_scheme",
            Self::Failed => "failed",
        }
    }
}

impl HandshakeError {
    /// What ended a handshake after the hello. rustls has sent the alert.
    pub(super) fn of_session(error: io::Error) -> Self {
        use rustls::PeerIncompatible::{SupportedVersionsExtensionRequired, Tls12NotOffered, Tls12NotOfferedOrEnabled};
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::PeerIncompatible(
                SupportedVersionsExtensionRequired | Tls12NotOffered | Tls12NotOfferedOrEnabled,
            )) => Self::OldVersion,
            _ => Self::Failed(error),
        }
    }

    pub(super) const fn outcome(&self) -> Outcome {
        match self {
            Self::NoHello => Outcome::NoHello,
            Self::TooLarge => Outcome::TooLarge,
            Self::TimedOut => Outcome::TimedOut,
            Self::Overload => Outcome::Overload,
            Self::OldVersion => Outcome::OldVersion,
            Self::BadHello(_) => Outcome::BadHello,
            Self::NoServerName => Outcome::NoServerName,
            Self::UnknownServerName { .. } => Outcome::UnknownServerName,
            Self::Certificate { .. } => Outcome::Certificate,
            Self::NoSignatureScheme { .. } => Outcome::NoSignatureScheme,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}
