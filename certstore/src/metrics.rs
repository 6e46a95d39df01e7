//! What the store counts. Handles are registered once, so that a handshake looks nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::error::CertError;
use crate::warning::Warning;

/// Horizons of `postern_certstore_expiring`, in seconds from now; the first is the past.
pub(crate) const HORIZONS: [(&str, i64); 4] =
    [("expired", 0), ("1d", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)];

/// Describes all of the store's metrics. Call it once, after the recorder is installed.
pub fn describe_metrics() {
    describe_gauge!("postern_certstore_entries", "Certificates in the cache.");
    describe_gauge!("postern_certstore_bytes", Unit::Bytes, "Bytes that cached certificates are weighed with.");
    describe_gauge!(
        "postern_certstore_held_bytes",
        Unit::Bytes,
        "Bytes of all certificates in memory: cached, or evicted and still in use."
    );
    describe_gauge!("postern_certstore_budget_bytes", Unit::Bytes, "Bytes that cached certificates may have.");
    describe_gauge!("postern_certstore_loads_in_flight", "Secrets that are being loaded.");
    describe_gauge!("postern_certstore_waiting", "Handshakes that wait for a certificate.");
    describe_gauge!(
        "postern_certstore_reloads_waiting",
        "Cached Secrets that have changed and wait to be loaded again."
    );
    describe_gauge!("postern_certstore_refused_secrets", "Secrets that are not asked for until their backoff is over.");
    describe_gauge!("postern_certstore_expired_entries", "Cached certificates that have expired and are served.");
    describe_gauge!(
        "postern_certstore_soonest_expiry_timestamp_seconds",
        Unit::Seconds,
        "Unix time at which the first cached certificate expires; 0 without any."
    );
    describe_counter!("postern_certstore_hits_total", "Certificates found in the cache.");
    describe_counter!("postern_certstore_misses_total", "Certificates not found in the cache.");
    describe_counter!("postern_certstore_refused_hits_total", "Misses answered by the memory of an earlier refusal.");
    describe_counter!(
        "postern_certstore_delayed_misses_total",
        "Handshakes that waited for their turn to load, since their client or all together asked for too many."
    );
    describe_counter!("postern_certstore_loads_total", "Loads of Secrets, by outcome.");
    describe_histogram!("postern_certstore_load_seconds", Unit::Seconds, "Time to load and check a Secret.");
    describe_counter!("postern_certstore_evictions_total", "Certificates that left the cache for lack of room.");
    describe_counter!("postern_certstore_rejects_total", "Secrets and requests refused, by reason.");
    describe_counter!("postern_certstore_swaps_total", "Changes of cached Secrets, by outcome.");
    describe_counter!("postern_certstore_warnings_total", "Faults of certificates that are served, by reason.");
    describe_gauge!(
        "postern_certstore_expiring",
        "Cached certificates that have expired (horizon=expired), or will within a day, 7 or 30 days (1d, 7d, 30d: each \
         holds the ones before it, without those that have expired)."
    );
    crate::advice::describe();
    crate::store::describe_metrics();
    crate::sealed::describe_metrics();
}

/// A counter that can be read back.
#[derive(Debug)]
pub(crate) struct Tally {
    count: AtomicU64,
    exported: Counter,
}

impl Tally {
    pub(crate) fn new(exported: Counter) -> Self {
        Self { count: AtomicU64::new(0), exported }
    }

    pub(crate) fn increment(&self) {
        self.count.fetch_add(1, Relaxed);
        self.exported.increment(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

/// How a load ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoadOutcome {
    Loaded,
    /// The content can't be served.
    Rejected,
    /// It isn't there, or not for us.
    Missing,
    /// The source failed or took too long.
    Failed,
    /// So it did, and an encrypted copy took its place.
    Sealed,
    /// Its result came too late: the Secret had changed, was removed, or nobody wanted it any more.
    Superseded,
}

/// How a change of a cached Secret ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SwapOutcome {
    Swapped,
    /// The new one is bad or can't be had: the last good one stays.
    Kept,
    /// The Secret is gone, and so is its certificate.
    Removed,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) hits: Tally,
    pub(crate) misses: Tally,
    pub(crate) refused_hits: Tally,
    pub(crate) evictions: Tally,
    pub(crate) delayed_misses: Counter,
    loads: [Tally; 6],
    swaps: [Tally; 3],
    pub(crate) entries: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) budget: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) reloads_waiting: Gauge,
    pub(crate) refused: Gauge,
    pub(crate) expired: Gauge,
    /// By [`HORIZONS`].
    pub(crate) expiring: [Gauge; HORIZONS.len()],
    pub(crate) soonest_expiry: Gauge,
    pub(crate) load_seconds: Histogram,
    held_bytes: Gauge,
    held: AtomicU64,
}

impl Metrics {
    pub(crate) fn register() -> Arc<Self> {
        let load = |outcome| Tally::new(counter!("postern_certstore_loads_total", "outcome" => outcome));
        let swap = |outcome| Tally::new(counter!("postern_certstore_swaps_total", "outcome" => outcome));
        Arc::new(Self {
            hits: Tally::new(counter!("postern_certstore_hits_total")),
            misses: Tally::new(counter!("postern_certstore_misses_total")),
            refused_hits: Tally::new(counter!("postern_certstore_refused_hits_total")),
            evictions: Tally::new(counter!("postern_certstore_evictions_total")),
            delayed_misses: counter!("postern_certstore_delayed_misses_total"),
            loads: ["loaded", "rejected", "missing", "failed", "sealed", "superseded"].map(load),
            swaps: ["swapped", "kept", "removed"].map(swap),
            entries: gauge!("postern_certstore_entries"),
            bytes: gauge!("postern_certstore_bytes"),
            budget: gauge!("postern_certstore_budget_bytes"),
            in_flight: gauge!("postern_certstore_loads_in_flight"),
            waiting: gauge!("postern_certstore_waiting"),
            reloads_waiting: gauge!("postern_certstore_reloads_waiting"),
            refused: gauge!("postern_certstore_refused_secrets"),
            expired: gauge!("postern_certstore_expired_entries"),
            expiring: HORIZONS.map(|(horizon, _)| gauge!("postern_certstore_expiring", "horizon" => horizon)),
            soonest_expiry: gauge!("postern_certstore_soonest_expiry_timestamp_seconds"),
            load_seconds: histogram!("postern_certstore_load_seconds"),
            held_bytes: gauge!("postern_certstore_held_bytes"),
            held: AtomicU64::new(0),
        })
    }

    pub(crate) fn load(&self, outcome: LoadOutcome) -> &Tally {
        &self.loads[outcome as usize]
    }

    pub(crate) fn swap(&self, outcome: SwapOutcome) -> &Tally {
        &self.swaps[outcome as usize]
    }

    /// A refusal is rare enough to be looked up.
    pub(crate) fn reject(error: &CertError) {
        counter!("postern_certstore_rejects_total", "reason" => error.reason()).increment(1);
    }

    pub(crate) fn warning(warning: &Warning) {
        counter!("postern_certstore_warnings_total", "reason" => warning.reason()).increment(1);
    }

    /// Bytes of certificates in memory.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Counts `bytes` as held for as long as the guard lives.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        self.held.fetch_add(bytes, Relaxed);
        self.held_bytes.increment(bytes as f64);
        Held { bytes, metrics: Arc::clone(self) }
    }
}

/// Bytes that are in memory while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: u64,
    metrics: Arc<Metrics>,
}

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.held.fetch_sub(self.bytes, Relaxed);
        self.metrics.held_bytes.decrement(self.bytes as f64);
    }
}
