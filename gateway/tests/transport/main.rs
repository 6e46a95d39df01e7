//! The downstream transport over real sockets: listeners, TLS, HTTP/1.1, HTTP/2 and draining, with a proxy that does
//! next to nothing and a backend behind it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod backend;
mod client;
mod drain;
mod http1;
mod http2;
mod limits;
mod names;
mod proxy;
mod proxy_protocol;
mod resumption;
mod rig;
mod tls;
