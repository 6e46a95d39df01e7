//! Status: what is told about objects, on the objects themselves.
//!
//! ```text
//!  watch ─► translator: what it says, what it should say ──differs──► queue ─► writer ─► PATCH …/status
//!                ▲                                                               │ describe    (leader only)
//!                └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a status should be is a function of the translator's records at the moment it is written, and what it is comes
//! back through the watch. Nothing is remembered in between but a fingerprint of 24 bytes for each object, so whatever
//! went wrong, a status becomes right as soon as the facts are.
//!
//! # Guarantees
//! * A status is written only where it differs, and only by the holder of the lease.
//! * `Ready` is `True` only after the Update with the object was applied here and by every other gateway.
//! * `lastTransitionTime` moves only with its condition.

mod condition;
mod denials;
mod desk;
mod events;
mod lease;
mod metrics;
mod probe;
mod publication;
mod published;
mod queue;
mod reporter;
mod wire;
mod writer;

pub(crate) use condition::Verdict;
pub use desk::Hook;
pub(crate) use desk::{Ask, Probe, Task, Wanted, Written};
pub use lease::LeaseOptions;
pub use metrics::describe_metrics;
pub use publication::Address;
pub(crate) use published::{FINALIZER, Marks, Print, Published};
pub use reporter::{Options, Reporter, Running};
pub(crate) use wire::MANAGER;
