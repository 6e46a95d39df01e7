//! What the directory source counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::index::Index;

const FILES: &str = "postern_source_files";
const OBJECTS: &str = "postern_source_objects";
const FILE_READS: &str = "postern_source_file_reads_total";
const RESCANS: &str = "postern_source_rescans_total";

/// Says what the metrics of the directory source mean.
pub fn describe_metrics() {
    describe_gauge!(FILES, "Manifest files that are known to the directory source.");
    describe_gauge!(OBJECTS, "Objects of the directory source that are in effect.");
    describe_counter!(FILE_READS, "Manifest files read by the directory source.");
    describe_counter!(RESCANS, "Times that the whole directory was looked at again.");
}

/// What a directory source has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that are known.
    pub files: usize,
    /// Objects that are in effect.
    pub objects: usize,
    /// Times that a file was read since the start; reading a Secret's data is not counted.
    pub file_reads: u64,
    /// Times that the whole directory was looked at again.
    pub rescans: u64,
}

/// What one source has done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    file_reads: AtomicU64,
    rescans: AtomicU64,
}

impl Counters {
    /// A file is read.
    pub(super) fn file_read(&self) {
        self.file_reads.fetch_add(1, Relaxed);
        counter!(FILE_READS).increment(1);
    }

    /// The whole directory is looked at again.
    pub(super) fn rescanned(&self) {
        self.rescans.fetch_add(1, Relaxed);
        counter!(RESCANS).increment(1);
    }

    /// What has been done, and what is held.
    pub(super) fn stats(&self, index: &Index) -> Stats {
        let (file_reads, rescans) = (self.file_reads.load(Relaxed), self.rescans.load(Relaxed));
        Stats { files: index.files(), objects: index.objects(), file_reads, rescans }
    }
}

/// What is known at present.
pub(super) fn holds(files: usize, objects: usize) {
    gauge!(FILES).set(files as f64);
    gauge!(OBJECTS).set(objects as f64);
}
