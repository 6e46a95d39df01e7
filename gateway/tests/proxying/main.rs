//! The proxy over real sockets: raw clients in front, real backends behind.

#[cfg(feature = "jemalloc")]
mod allocations;
mod endpoints;
mod hygiene;
mod protocols;
mod rig;
mod routing;
