//! Kinds of reservations, and the metrics of the ledger.

use metrics::{Unit, describe_counter, describe_gauge};

/// A purpose that bytes are reserved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An accepted connection: its task, its TLS session and the kernel's socket.
    Connection,
    /// A TLS handshake under way: the `ClientHello`, the certificate chain and the key exchange.
    Handshake,
    /// HTTP/2 on a connection: its tables and its frame buffers.
    Http2,
    /// The head of a request that waits for its turn or for an endpoint.
    Head,
    /// A request under way: the connection to its endpoint, and what of both bodies may wait for somebody to take it.
    Request,
    /// A request body that is kept to be sent again.
    Replay,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Connection, Self::Handshake, Self::Http2, Self::Head, Self::Request, Self::Replay];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Http2 => "http2",
            Self::Head => "head",
            Self::Request => "request",
            Self::Replay => "replay",
        }
    }
}

/// Describes the metrics of the ledger to the recorder.
pub(crate) fn describe_metrics() {
    describe_gauge!("postern_memory_reserved_bytes", Unit::Bytes, "Bytes reserved for clients, by kind.");
    describe_gauge!("postern_memory_reservable_bytes", Unit::Bytes, "Bytes that may be reserved for clients in all.");
    describe_gauge!("postern_memory_waiting", Unit::Count, "Requests and handshakes that wait for bytes.");
    describe_counter!(
        "postern_memory_refused_total",
        Unit::Count,
        "Reservations refused, by kind: the source is at its share, or too many of it wait."
    );
    describe_counter!("postern_memory_waited_total", Unit::Count, "Reservations that had to wait for bytes.");
    describe_counter!(
        "postern_memory_shed_total",
        Unit::Count,
        "Requests cancelled to make room for other sources: those whose client took nothing for longest."
    );
    // From the beginning: a rate has to see the first one, too.
    metrics::counter!("postern_memory_shed_total").absolute(0);
}
