//! The harness: a real gateway process, real backends and real clients, all on loopback.
