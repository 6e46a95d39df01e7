//! Overload: the process stays under its memory limit, whatever clients do.
//!
//! ```text
//!  cgroup, flag ─► meter ─► share of the limit ─► ladder ─► stage ─┬─► certificate cache, allocator   (shrink)
//!                    │                                             ├─► idle connections, keep-alive   (close)
//!                    └─► plan: who may have how much               └─► new connections and requests   (refuse)
//! ```
//!
//! What clients hold is reserved in the [ledger](crate::ledger) before it is read or allocated. This is the second line: it
//! follows what cannot be reserved (libraries, fragmentation) and what is planned (the certificate cache).
//!
//! A thread of its own looks at the kernel's figure several times a second, so that it acts while traffic keeps every
//! worker busy. Each stage includes those before it.

mod budget;
mod cgroup;
mod figures;
mod limit;
mod meter;
mod monitor;
mod plan;
mod pressure;
mod stage;

pub(crate) use budget::CertBudget;
pub(crate) use figures::describe_metrics;
pub use limit::MemoryLimit;
pub(crate) use monitor::{Overload, Settings};
pub(crate) use plan::{DEFAULT_CACHE, DEFAULT_CONNECTIONS};
pub(crate) use pressure::{Call, Pressure, RETRY_AFTER, Refused};
pub use stage::{Stage, Thresholds};
