//! What an operator says about the memory limit.

use bytesize::ByteSize;

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
