//! Both sides over loopback, against the client and the server of the `h2` crate.

mod client;
mod memory;
mod server;
