//! What an operator says about the memory limit.

use std::path::Path;

use bytesize::ByteSize;

use super::meter::{Meter, SELF};

/// How much memory the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// As much as its cgroup allows.
    Auto,
    /// This much, or what its cgroup allows if that is less.
    Size(ByteSize),
    /// Nobody limits it: no stages, no plan.
    Off,
}

impl MemoryLimit {
    /// The limit in bytes as it is now, if there is one.
    pub(crate) fn bytes(self) -> Option<u64> {
        Meter::open(self, Path::new(SELF)).limit()
    }
}
