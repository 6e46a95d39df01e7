//! What handshakes count: handles registered once, so that a handshake looks nothing up.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use rustls::{HandshakeKind, ProtocolVersion};

use super::outcome::Outcome;

/// Versions of a session; the last stands for what rustls may learn.
const VERSIONS: [&str; 3] = ["TLSv1_2", "TLSv1_3", "unknown"];

/// Kinds of a session.
const KINDS: [&str; 3] = ["full", "full_with_retry", "resumed"];

/// All figures of handshakes.
pub(super) struct Figures {
    ended: [(Counter, Histogram); Outcome::ALL.len()],
    sessions: [[Counter; KINDS.len()]; VERSIONS.len()],
    delayed: Counter,
    in_flight: Gauge,
}

impl Figures {
    pub(super) fn new() -> Self {
        let ended = |outcome: Outcome| {
            let outcome = outcome.as_str();
            (
                counter!("postern_tls_handshakes_total", "outcome" => outcome),
                histogram!("postern_tls_handshake_seconds", "outcome" => outcome),
            )
        };
        let sessions = |version: &'static str| {
            KINDS.map(|kind| counter!("postern_tls_sessions_total", "version" => version, "kind" => kind))
        };
        Self {
            ended: Outcome::ALL.map(ended),
            sessions: VERSIONS.map(sessions),
            delayed: counter!("postern_tls_handshakes_delayed_total"),
            in_flight: gauge!("postern_tls_handshakes_in_flight"),
        }
    }

    /// A handshake has ended.
    pub(super) fn ended(&self, outcome: Outcome, took: Duration) {
        let (count, seconds) = &self.ended[outcome as usize];
        count.increment(1);
        seconds.record(took);
    }

    /// A session was established. Yields the name of its version.
    pub(super) fn established(&self, version: Option<ProtocolVersion>, kind: Option<HandshakeKind>) -> &'static str {
        let version = match version {
            Some(ProtocolVersion::TLSv1_2) => 0,
            Some(ProtocolVersion::TLSv1_3) => 1,
            _ => 2,
        };
        let kind = match kind {
            Some(HandshakeKind::FullWithHelloRetryRequest) => 1,
            Some(HandshakeKind::Resumed) => 2,
            _ => 0,
        };
        self.sessions[version][kind].increment(1);
        VERSIONS[version]
    }

    /// A handshake has to wait for its turn.
    pub(super) fn delayed(&self) {
        self.delayed.increment(1);
    }

    /// Counts a handshake as under way until what this yields is dropped.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.increment(1);
        InFlight(&self.in_flight)
    }
}

/// A handshake under way.
pub(super) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
