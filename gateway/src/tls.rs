//! TLS on the downstream side: from the `ClientHello` to an established session, with the right certificate or none.

mod alert;
mod client_hello;
mod config;
mod figures;
mod handshake;
mod outcome;
mod tickets;

use std::time::Duration;

use certstore::SecretRef;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub use config::ConfigError;
pub use handshake::{Established, Terminator};
pub use outcome::HandshakeError;

/// How TLS is spoken with clients.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The oldest version of TLS a client may speak. 1.2.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered in ALPN, before HTTP/1.1. Yes.
    pub http2: bool,
    /// From the first byte to the end of the handshake, the certificate's loading included. 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may wait before its first byte. 30 s: browsers connect ahead of need.
    pub first_byte_timeout: Duration,
    /// The most a client may send before its `ClientHello` is complete. 16 KiB: with post-quantum key shares it is under
    /// 2 KiB. What it sends afterwards, until the handshake ends, may take as much again.
    pub hello_limit: usize,
    /// Bytes of TLS records that may wait for a client to read them, per connection. 32 KiB.
    pub send_buffer: usize,
    /// The Secret whose certificate answers when the server name is missing or unknown. None: such handshakes are
    /// refused.
    pub default_certificate: Option<SecretRef>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::Tls12,
            http2: true,
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            hello_limit: 16 * 1024,
            send_buffer: 32 * 1024,
            default_certificate: None,
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Describes the metrics of this module to the recorder.
pub fn describe_metrics() {
    describe_counter!("postern_tls_handshakes_total", Unit::Count, "TLS handshakes that ended, by outcome.");
    describe_histogram!(
        "postern_tls_handshake_seconds",
        Unit::Seconds,
        "Time from a client's first byte to the end of the handshake, by outcome."
    );
    describe_counter!(
        "postern_tls_sessions_total",
        Unit::Count,
        "TLS sessions established, by version and kind (full, full with a retry, or resumed)."
    );
    describe_gauge!("postern_tls_handshakes_in_flight", Unit::Count, "TLS handshakes under way.");
    describe_counter!(
        "postern_tls_handshakes_delayed_total",
        Unit::Count,
        "TLS handshakes that had to wait for others because the limit of handshakes was reached."
    );
}
