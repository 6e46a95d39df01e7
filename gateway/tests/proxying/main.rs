//! The proxy over real sockets: raw clients in front, real backends behind.

mod endpoints;
mod hygiene;
mod protocols;
mod rig;
mod routing;
