//! Loopback addresses that no other test uses.
//!
//! Linux answers for all of 127.0.0.0/8, so each backend gets an address of its own, as a pod does. That a backend
//! stops and comes back at the same address needs no luck with ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

/// The port that backends listen on, unless a test wants several at one address.
pub const BACKEND_PORT: u16 = 8080;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address that this process hands out once. Processes that run at the same time get different ones (their ids differ in
/// the last eight bits, or they are 256 processes apart).
pub fn unused() -> SocketAddr {
    let process = std::process::id().to_le_bytes()[0];
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // 254 addresses in each block of 256: neither .0 nor .255.
    let [high, ..] = (number / 254).to_le_bytes();
    let [low, ..] = (number % 254 + 1).to_le_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, process.max(1), high, low)), BACKEND_PORT)
}

/// An address on 127.0.0.1, which is what `localhost` stands for; the port was free a moment ago.
pub fn of_localhost() -> std::io::Result<SocketAddr> {
    at(Ipv4Addr::LOCALHOST.into())
}

/// An address with a port that was free a moment ago.
pub fn at(ip: IpAddr) -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((ip, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_handed_out_twice() {
        assert_ne!(unused(), unused());
    }
}
