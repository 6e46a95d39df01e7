//! Downstream connections: what is known of one for as long as it lives, and how its requests reach pingora.

pub(crate) mod bodies;
mod digests;
mod frame;
mod frame_flood;
mod header_phase;
mod http1;
mod http2;
mod pipelined;
mod request_head;
mod reset_flood;
mod service;
mod settings;
mod socket;
mod stream;
mod write_buffer;

use std::net::SocketAddr;
use std::sync::Arc;

use certstore::{CoveredNames, SecretRef};
use metrics::{Unit, counter, describe_counter};
use pingora_proxy::Session;

use crate::drain::{DrainWatch, Phase};
use crate::listener::ListenerName;
use crate::overload::{Pressure, Refused, Stage};

pub(crate) use digests::Digests;
pub(crate) use service::Watches;
pub use service::{Service, http_service};
pub use settings::{HEADER_LIMIT, Http2Settings, Settings};
pub use socket::Socket;
pub(crate) use stream::{Downstream, Transport};

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

/// What every request of a connection can reach through its session.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) connection: Connection,
    pub(crate) drain: DrainWatch,
    pub(crate) pressure: Pressure,
}

/// The connection that a request came on; `None` if it was not accepted by [`crate::listener::serve`].
pub fn of(session: &Session) -> Option<&Connection> {
    facts_of(session).map(|facts| &facts.connection)
}

/// Whether a response should say `Connection: close` (`session.set_keepalive(None)`): while the process drains, and on some
/// connections while memory runs short.
///
/// A request that arrives while draining is answered so without this; it is for those that were under way before.
pub fn is_ending(session: &Session) -> bool {
    facts_of(session)
        .is_some_and(|facts| *facts.drain.borrow() >= Phase::Draining || facts.pressure.closes_after_response())
}

/// Whether memory runs short, be it only a little.
pub(crate) fn is_memory_short(session: &Session) -> bool {
    facts_of(session).is_some_and(|facts| facts.pressure.stage() > Stage::Calm)
}

/// Whether a new request is refused as memory runs short.
pub(crate) fn refuses_requests(session: &Session) -> bool {
    facts_of(session).is_some_and(|facts| facts.pressure.refuses(facts.connection.listener, Refused::Request))
}

fn facts_of(session: &Session) -> Option<&Facts> {
    digests::facts_in(session.as_downstream().digest()?.proxy_digest.as_deref()?)
}

/// Why a connection was closed against the client's wish.
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
