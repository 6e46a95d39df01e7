//! Configuration discovery: *what should the gateway do now, and what has just changed?*
//!
//! ```text
//!  directory of manifests ─┐
//!                          ├─► source ──ObjectEvent──► translate ──Update──► whoever applies it
//!  (other sources)        ─┘  (objects)               (resources)
//! ```
//!
//! A [`source`] yields Kubernetes objects as they change and keeps none of them. [`translate`] turns an object into
//! [`resource`]s (virtual hosts, clusters, endpoints, TLS bindings) and remembers only a compact record of what the
//! object produced. What changed leaves as an [`Update`], which holds exactly the resources that differ.
//!
//! # Guarantees
//! * A resource that did not change is not in the [`Update`].
//! * A document or object that cannot be read takes nothing away: the last good version stays, and a [`Fault`] says so.
//! * The data of a Secret is read when somebody asks for it and is not kept.
//!
//! # Not here
//! Serving traffic, TLS and certificates: this crate knows no pingora and no rustls.

mod causes;
pub mod discovery;
pub mod fault;
pub mod object;
mod packed;
pub mod resource;
pub mod settings;
pub mod source;
pub mod status;
mod store;
pub mod translate;
mod work_queue;

pub use causes::causes;
pub use fault::{Fault, Faults};
pub use object::{ObjectEvent, ObjectKey, ObjectKind, ObjectRef};
pub use resource::Update;

/// Says what the metrics of this crate mean.
pub fn describe_metrics() {
    fault::describe_metrics();
    source::api::describe_metrics();
    source::dir::describe_metrics();
    status::describe_metrics();
    translate::describe_metrics();
}
