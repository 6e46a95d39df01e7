//! The Postern gateway: *how does a request get from a client to the right endpoint, in bounded memory?*
//!
//! ```text
//!  client ─► listener ─► ClientHello ─► TlsIndex ─► CertStore ─► handshake ─► proxy ─► route ─► upstream ─► endpoint
//!                                          ▲                                            ▲          ▲
//!                                          └────────────────  tables  ◄── apply ◄── Update (xds) ──┘
//! ```

mod admin;
mod app;
pub mod apply;
mod check;
pub mod cli;
pub mod config;
pub mod connection;
mod demo;
pub mod drain;
pub mod health;
pub mod listener;
pub mod proxy;
pub mod route;
pub mod tables;
mod telemetry;
pub mod tls;
pub mod upstream;

/// jemalloc returns memory to the system after a storm, and as `malloc` it serves the TLS library's C code too, so that
/// one set of figures covers the process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
