//! What the directory source counts.

use metrics::{counter, describe_counter, describe_gauge, gauge};

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

/// A file has been read.
pub(super) fn file_read() {
    counter!(FILE_READS).increment(1);
}

/// The whole directory is looked at again.
pub(super) fn rescanned() {
    counter!(RESCANS).increment(1);
}

/// What is known at present.
pub(super) fn holds(files: usize, objects: usize) {
    gauge!(FILES).set(files as f64);
    gauge!(OBJECTS).set(objects as f64);
}
