//! Downstream connections: the facts about one, its byte stream, and the protocol that it speaks.

mod service;
mod settings;
mod socket;
mod transport;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use certstore::{CoveredNames, SecretRef};
use metrics::{Unit, counter, describe_counter};

use crate::ledger::Account;
use crate::listener::ListenerName;

pub use service::Service;
pub(crate) use service::Watches;
pub use settings::{HEADER_LIMIT, Http2Settings, Settings};
pub use socket::Socket;
pub(crate) use transport::Transport;
pub(crate) use wire::Wire;

/// `SO_RCVBUF` of a connection, in bytes: what a client may send ahead of a request that is under way or waits. Set once a
/// connection has been accepted, so that its window can become larger later.
pub(crate) const NARROW: usize = 32 * 1024;

/// The same while a large body is received for which there is memory: 100 Mbit/s at 20 ms.
pub(crate) const WIDE: usize = 256 * 1024;

/// Facts about a downstream connection; each of its requests can read them.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it was accepted.
    pub listener: ListenerName,
    /// The client's address: of the socket, or as a PROXY header says.
    pub client: SocketAddr,
    /// The address the client connected to.
    pub local: SocketAddr,
    /// What the handshake agreed on; `None` on plain listeners.
    pub tls: Option<TlsFacts>,
    /// The account of the client's source: what its requests hold is reserved there.
    pub account: Arc<Account>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The server name the client asked for, lower case; `None` if it sent none (then the default certificate was used).
    pub server_name: Option<Arc<str>>,
    /// The Secret whose certificate was presented; `None` for the default certificate.
    pub secret: Option<SecretRef>,
    /// The names of the certificate that was presented.
    pub names: CoveredNames,
    /// For example `TLSv1_3`.
    pub protocol_version: &'static str,
}

/// The reason why a connection was closed against the client's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    IdleTimeout,
    HeaderTimeout,
    HeaderTooLarge,
    RequestLine,
    WriteStalled,
    RapidReset,
    FrameFlood,
    MalformedStreams,
    Drained,
    Overload,
}

impl Closed {
    const ALL: [Self; 10] = [
        Self::IdleTimeout,
        Self::HeaderTimeout,
        Self::HeaderTooLarge,
        Self::RequestLine,
        Self::WriteStalled,
        Self::RapidReset,
        Self::FrameFlood,
        Self::MalformedStreams,
        Self::Drained,
        Self::Overload,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::HeaderTooLarge => "header_too_large",
            Self::RequestLine => "request_line",
            Self::WriteStalled => "write_stalled",
            Self::RapidReset => "rapid_reset",
            Self::FrameFlood => "frame_flood",
            Self::MalformedStreams => "malformed_streams",
            Self::Drained => "drained",
            Self::Overload => "overload",
        }
    }

    /// Counts the end of a connection.
    pub(crate) fn count(self) {
        counter!("postern_connection_closed_total", "reason" => self.as_str()).increment(1);
    }
}

/// Describes the metrics of this module to the recorder.
pub fn describe_metrics() {
    describe_counter!(
        "postern_connection_closed_total",
        Unit::Count,
        "Connections closed by the gateway, by reason: idle, too slow, too large, abusive, drained, or to free memory."
    );
    // From the beginning: a rate has to see the first one, too.
    for reason in Closed::ALL {
        counter!("postern_connection_closed_total", "reason" => reason.as_str()).absolute(0);
    }
}
