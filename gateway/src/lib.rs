//! The Postern gateway: *how does a request get from a client to the right endpoint, in bounded memory?*
//!
//! ```text
//!  client ─► listener ─► ClientHello ─► TlsIndex ─► CertStore ─► handshake ─► proxy ─► route ─► upstream ─► endpoint
//!                                          ▲                                            ▲          ▲
//!                                          └────────────────  tables  ◄── apply ◄── Update (xds) ──┘
//! ```

mod admin;
mod allocator;
mod app;
pub mod apply;
mod check;
pub mod cli;
pub mod config;
pub mod connection;
pub mod deadline;
mod demo;
pub mod drain;
pub mod exchange;
pub mod health;
pub(crate) mod http1;
pub(crate) mod http2;
pub mod ledger;
pub mod listener;
pub mod live;
pub mod message;
pub mod overload;
pub mod proxy;
pub mod route;
pub mod tables;
mod telemetry;
pub mod tls;
pub mod upstream;
