//! What the soak tells the load, and what the load reports.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What the load is told, one a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(crate) enum Order {
    /// Begins the everyday load.
    Start(Target),
    /// Services have new certificates since a moment ago; in the services' order.
    Renewed { first: usize, serials: Vec<u64> },
    /// The API server is silent, or answers again; for so long afterwards the gateway may be behind.
    Outage { silent: bool, recovery_millis: u64 },
    /// Something that goes on for a while.
    Begin { what: Spell, millis: u64 },
    /// Reports.
    Tick,
}

/// What the load is to do, and to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Where TLS is terminated.
    pub(crate) https: SocketAddr,
    /// The authority of the services' certificates, in PEM.
    pub(crate) ca: String,
    /// How many services there are.
    pub(crate) services: usize,
    /// What random choices are made of.
    pub(crate) seed: u64,
    /// New connections a second; 0 is none.
    pub(crate) rate: u32,
    /// `WebSockets` held open.
    pub(crate) websockets: u32,
    /// Idle connections held open.
    pub(crate) idle: u32,
    /// Clients that download, and as many that read slowly.
    pub(crate) downloads: u32,
    /// How far a certificate may be behind.
    pub(crate) staleness_millis: u64,
}

/// Load that is there for a while only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "spell")]
pub(crate) enum Spell {
    /// Hellos with names that nobody has.
    Scan,
    /// One full handshake with each name in turn, so many a second, from this service on.
    Crawl { first: usize, rate: u32 },
    /// Streams that are opened and reset at once (CVE-2023-44487).
    RapidReset,
    /// A header that never ends (CVE-2024-27316).
    ContinuationFlood,
    /// PING after PING, and no answer is read (CVE-2019-9512).
    PingFlood,
    /// SETTINGS after SETTINGS, and no acknowledgement is read (CVE-2019-9515).
    SettingsFlood,
}

impl Spell {
    /// Whether it is meant to do harm.
    pub(crate) fn is_attack(self) -> bool {
        !matches!(self, Self::Crawl { .. })
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scan => "SNI scan",
            Self::Crawl { .. } => "crawl",
            Self::RapidReset => "rapid reset",
            Self::ContinuationFlood => "CONTINUATION flood",
            Self::PingFlood => "PING flood",
            Self::SettingsFlood => "SETTINGS flood",
        }
    }
}

/// What fails a soak, unless it was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// A handshake for a configured name did not succeed.
    Handshake,
    /// A certificate of another authority or name was served, or one for a name that nobody has.
    WrongCertificate,
    /// A certificate was served that had been replaced longer ago than is allowed.
    StaleCertificate,
    /// An answer with a status of 500 or above.
    ServerError,
    /// A request without an answer, or with a wrong one.
    Request,
    /// A WebSocket that broke or echoed wrongly.
    WebSocket,
}

impl Failure {
    /// All kinds.
    pub(crate) const ALL: [Self; 6] = [
        Self::Handshake,
        Self::WrongCertificate,
        Self::StaleCertificate,
        Self::ServerError,
        Self::Request,
        Self::WebSocket,
    ];
}

/// What a failure looked like to the client. A gateway that has declared to refuse does so in these ways and in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sign {
    /// The connection was closed in the middle of the handshake, or before it.
    Closed,
    /// The alert `internal_error` in place of a certificate.
    NoCertificate,
    /// 503 with `Retry-After`.
    RetryAfter,
    /// The connection was at its end before the answer began, be it by GOAWAY.
    Leaving,
    /// An answer that broke off.
    Cut,
    /// Anything else; never declared.
    Other,
}

/// Failures of one kind that were seen at about the same time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) sign: Sign,
    /// How long before the report.
    pub(crate) millis_ago: u64,
    pub(crate) count: u64,
    /// One of them, word by word, unless there are many.
    pub(crate) words: Option<String>,
}

/// What is counted besides failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Count {
    /// Full handshakes that succeeded.
    FullHandshakes,
    /// Resumed ones.
    ResumedHandshakes,
    /// Handshakes without a certificate while the API server was silent, which the script declares.
    RefusedInOutage,
    /// Connections that were not made because too many were under way: the load can't keep up.
    Skipped,
    /// Requests that were answered as they should be.
    Requests,
    /// Echoes of `WebSockets`.
    Echoes,
    /// Large answers that were read to their end.
    Downloads,
    /// Large answers that were read slowly, to their end.
    SlowReads,
    /// Slow readers whom the gateway cut off.
    SlowReadersCut,
    /// Idle connections that the gateway closed.
    IdleClosed,
    /// Unknown names that were refused with `unrecognized_name`.
    ScansRefused,
    /// Unknown names that were turned away in another way.
    ScansTurnedAway,
    /// Connections of attackers.
    Attacks,
    /// Connections of attackers that the gateway ended.
    AttacksCut,
    /// Connections that the load itself could not make: it was out of files or addresses.
    OutOfFiles,
}

/// What the load has seen so far, and of latencies since the last report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// Since the start.
    pub(crate) counts: BTreeMap<Count, u64>,
    /// Failures since the last report, declared or not.
    pub(crate) troubles: Vec<Trouble>,
    /// Full handshakes since the last report.
    pub(crate) full: Quantiles,
    /// Resumed handshakes since the last report.
    pub(crate) resumed: Quantiles,
    /// Of the full ones, those that found their certificate in the cache, as far as is known.
    pub(crate) hit: Quantiles,
    /// Of the full ones, those whose certificate had to be loaded, as far as is known.
    pub(crate) miss: Quantiles,
    /// The same since the start.
    pub(crate) all: Latencies,
    /// Connections that are open.
    pub(crate) open: u64,
}

/// Handshakes of a whole run, by kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) full: Quantiles,
    pub(crate) hit: Quantiles,
    pub(crate) miss: Quantiles,
    pub(crate) resumed: Quantiles,
}

impl Latencies {
    /// Each kind with its name for people.
    pub(crate) fn kinds(&self) -> [(&'static str, Quantiles); 4] {
        [("full", self.full), ("full, cached", self.hit), ("full, loaded", self.miss), ("resumed", self.resumed)]
    }
}

/// Percentiles of times in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// How many there were; the others are 0 if none.
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Tick {
    /// How often this was counted.
    pub(crate) fn count(&self, what: Count) -> u64 {
        self.counts.get(&what).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_survives_the_line_it_is_sent_in() {
        let mut tick = Tick::default();
        tick.counts.insert(Count::ScansRefused, 3);
        let words = Some("answered \"no\"\nat all".to_owned());
        tick.troubles.push(Trouble {
            failure: Failure::WebSocket,
            sign: Sign::Leaving,
            millis_ago: 250,
            count: 2,
            words: words.clone(),
        });
        let line = serde_json::to_string(&tick).unwrap();
        let read: Tick = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!((read.count(Count::ScansRefused), read.troubles[0].count), (3, 2));
        assert_eq!((read.troubles[0].sign, &read.troubles[0].words), (Sign::Leaving, &words));
    }

    #[test]
    fn an_order_survives_the_line_it_is_sent_in() {
        let line =
            serde_json::to_string(&Order::Begin { what: Spell::Crawl { first: 7, rate: 5 }, millis: 9 }).unwrap();
        let read: Order = serde_json::from_str(&line).unwrap();
        assert!(matches!(read, Order::Begin { what: Spell::Crawl { first: 7, rate: 5 }, millis: 9 }), "{line}");
    }
}
