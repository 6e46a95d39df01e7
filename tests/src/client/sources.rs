//! Connections from many addresses, as clients have that are not all behind one proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpSocket, TcpStream};

use crate::Result;

/// How many addresses there are.
const SOURCES: u32 = 4_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Connects from one of a few thousand loopback addresses in turn. Each has ports of its own, so that they do not run out.
pub async fn connect(address: SocketAddr, receive_buffer: Option<u32>) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source(NEXT.fetch_add(1, Ordering::Relaxed))), 0))?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// 254 addresses in each block of 256: neither .0 nor .255.
fn source(number: u32) -> Ipv4Addr {
    let number = number % SOURCES;
    let ([block, ..], [low, ..]) = ((number / 254).to_le_bytes(), (number % 254 + 1).to_le_bytes());
    Ipv4Addr::new(127, 250, block, low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_as_many_addresses_as_are_said() {
        let all: BTreeSet<_> = (0..2 * SOURCES).map(source).collect();
        assert_eq!(all.len(), SOURCES as usize);
        assert!(all.iter().all(|address| !matches!(address.octets()[3], 0 | 255)));
    }
}
