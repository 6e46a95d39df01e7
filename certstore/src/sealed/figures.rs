//! What the sealed tier counts.

use std::sync::Arc;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::metrics::Tally;

const ENTRIES: &str = "postern_certstore_sealed_entries";
const BYTES: &str = "postern_certstore_sealed_bytes";
const LIMIT: &str = "postern_certstore_sealed_limit_bytes";
const QUEUED: &str = "postern_certstore_sealed_queued_jobs";
const READS: &str = "postern_certstore_sealed_reads_total";
const WRITES: &str = "postern_certstore_sealed_writes_total";
const EVICTIONS: &str = "postern_certstore_sealed_evictions_total";

/// Says what the metrics of the sealed tier mean.
pub(crate) fn describe_metrics() {
    describe_gauge!(ENTRIES, "Secrets of which there is an encrypted copy on disk.");
    describe_gauge!(BYTES, Unit::Bytes, "Bytes of the encrypted copies.");
    describe_gauge!(LIMIT, Unit::Bytes, "Bytes that the encrypted copies may have.");
    describe_gauge!(QUEUED, "Reads and writes of encrypted copies that wait for the disk.");
    describe_counter!(
        READS,
        "Loads that were answered from an encrypted copy because the source was away (served, or stale if the Secret had \
         changed), and those for which there was none (absent) or none that could be read (failed)."
    );
    describe_counter!(WRITES, "Encrypted copies, by what became of them: written, dropped, failed or too_large.");
    describe_counter!(EVICTIONS, "Encrypted copies that were deleted for lack of room.");
}

/// How the search for a copy ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadOutcome {
    Served,
    /// The Secret has changed since.
    Stale,
    Absent,
    /// The file cannot be read, or is not the one that was written.
    Failed,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriteOutcome {
    Written,
    /// Too many waited for the disk.
    Dropped,
    Failed,
    TooLarge,
}

#[derive(Debug)]
pub(super) struct Figures {
    reads: [Tally; 4],
    writes: [Counter; 4],
    pub(super) evictions: Counter,
    pub(super) entries: Gauge,
    pub(super) bytes: Gauge,
    pub(super) limit: Gauge,
    pub(super) queued: Gauge,
}

impl Figures {
    pub(super) fn register() -> Arc<Self> {
        Arc::new(Self {
            reads: ["served", "stale", "absent", "failed"]
                .map(|outcome| Tally::new(counter!(READS, "outcome" => outcome))),
            writes: ["written", "dropped", "failed", "too_large"].map(|outcome| counter!(WRITES, "outcome" => outcome)),
            evictions: counter!(EVICTIONS),
            entries: gauge!(ENTRIES),
            bytes: gauge!(BYTES),
            limit: gauge!(LIMIT),
            queued: gauge!(QUEUED),
        })
    }

    pub(super) fn read(&self, outcome: ReadOutcome) -> &Tally {
        &self.reads[outcome as usize]
    }

    pub(super) fn wrote(&self, outcome: WriteOutcome) {
        self.writes[outcome as usize].increment(1);
    }
}
