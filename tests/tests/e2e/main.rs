//! End to end: the real gateway process on a directory of manifests, real clients and real backends.
//!
//! Each case has a gateway, a directory and backends of its own, so all can run at once.

mod bad_input;
mod certificates;
mod check;
mod demo;
mod drain;
mod foreign;
mod forwarding;
mod health;
mod hygiene;
mod ingress;
mod kingress;
mod probe;
mod protocols;
mod secrecy;
mod settings;
mod slow;
mod sni;
mod splits;
mod tenants;
mod tools;
mod upstream;
mod visibility;
mod world;
