//! What the listeners count: handles registered once, so that a connection looks nothing up.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::ListenerName;

/// Why a connection is closed right after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    MaxConnections,
    MaxConnectionsPerSource,
    SourceMemory,
    Overload,
    ProxyHeader,
    ProxyHeaderTimeout,
}

impl Refused {
    const ALL: [Self; 6] = [
        Self::MaxConnections,
        Self::MaxConnectionsPerSource,
        Self::SourceMemory,
        Self::Overload,
        Self::ProxyHeader,
        Self::ProxyHeaderTimeout,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::MaxConnectionsPerSource => "max_connections_per_source",
            Self::SourceMemory => "source_memory",
            Self::Overload => "overload",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
        }
    }
}

/// What stands behind an error of `accept(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptFault {
    /// The client was gone before it was accepted; the next one may be fine.
    Client,
    /// EMFILE or ENFILE.
    FileDescriptors,
    /// No memory, or something unheard of.
    Other,
}

impl AcceptFault {
    const ALL: [Self; 3] = [Self::Client, Self::FileDescriptors, Self::Other];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::FileDescriptors => "file_descriptors",
            Self::Other => "other",
        }
    }
}

/// Figures of all listeners.
pub(super) struct Figures([OfListener; ListenerName::ALL.len()]);

/// Figures of a listener.
#[derive(Clone)]
pub(super) struct OfListener {
    pub(super) accepted: Counter,
    pub(super) open: Gauge,
    pub(super) streams: Gauge,
    pub(super) most_streams: Histogram,
    refused: [Counter; Refused::ALL.len()],
    errors: [Counter; AcceptFault::ALL.len()],
}

impl Figures {
    pub(super) fn new() -> Self {
        Self(ListenerName::ALL.map(OfListener::new))
    }

    pub(super) fn of(&self, listener: ListenerName) -> &OfListener {
        &self.0[listener as usize]
    }
}

impl OfListener {
    fn new(listener: ListenerName) -> Self {
        let listener = listener.as_str();
        let refused =
            |why: Refused| counter!("postern_listener_refused_total", "listener" => listener, "reason" => why.as_str());
        let error = |fault: AcceptFault| counter!("postern_listener_accept_errors_total", "listener" => listener, "reason" => fault.as_str());
        Self {
            accepted: counter!("postern_listener_accepted_total", "listener" => listener),
            open: gauge!("postern_listener_connections", "listener" => listener),
            streams: gauge!("postern_listener_streams", "listener" => listener),
            most_streams: histogram!("postern_listener_most_streams", "listener" => listener),
            refused: Refused::ALL.map(refused),
            errors: AcceptFault::ALL.map(error),
        }
    }

    pub(super) fn refused(&self, why: Refused) {
        self.refused[why as usize].increment(1);
    }

    pub(super) fn failed(&self, fault: AcceptFault) {
        self.errors[fault as usize].increment(1);
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}
