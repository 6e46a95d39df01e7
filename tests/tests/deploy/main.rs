//! What `deploy/` holds: that it is valid, agrees with the code, and is enough for a gateway to run.
//!
//! The files of `kustomize/base` are read as they are. Overlays and the chart are rendered by `kubectl` and `helm`, where
//! these are installed.

mod access;
mod agreement;
mod alerts;
mod chart;
mod image;
mod pods;
mod rendered;
mod schema;
