//! Peers: how pingora is told to connect to an endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme};
use xds::resource::UpstreamProtocol;

/// Streams on one upstream HTTP/2 connection; pingora's default of 1 would make a connection of every request.
const MAX_H2_STREAMS: usize = 100;
/// A stream's window: enough for 100 Mbit/s at 5 ms, small enough for thousands of streams.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// A connection's window.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Connections of h2c peers are pooled apart: pingora's reuse hash doesn't tell the protocol.
const H2C_GROUP: u64 = 1;

/// Limits of upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For a TCP connection to come about.
    pub connect: Duration,
    /// How long an unused connection is kept. Below what backends use, or they close it under a request.
    pub idle: Duration,
    /// How often a quiet HTTP/2 connection is asked whether it is alive.
    pub ping: Duration,
    /// How long a stream may be silent; `None` for ever.
    pub stream_idle: Option<Duration>,
}

/// Prepared options, cloned for each request without building anything.
#[derive(Debug)]
pub struct Peers {
    http1: PeerOptions,
    h2c: PeerOptions,
}

impl Peers {
    /// Prepares the options.
    pub fn new(timeouts: UpstreamTimeouts) -> Self {
        let mut http1 = PeerOptions::new();
        http1.connection_timeout = Some(timeouts.connect);
        http1.total_connection_timeout = Some(timeouts.connect);
        http1.idle_timeout = Some(timeouts.idle);
        http1.read_timeout = timeouts.stream_idle;
        http1.write_timeout = timeouts.stream_idle;
        let mut h2c = http1.clone();
        h2c.set_http_version(2, 2);
        h2c.max_h2_streams = MAX_H2_STREAMS;
        h2c.h2_stream_window_size = Some(H2_STREAM_WINDOW);
        h2c.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
        h2c.h2_ping_interval = Some(timeouts.ping);
        Self { http1, h2c }
    }

    /// The peer for an endpoint.
    pub fn peer(&self, address: SocketAddr, protocol: UpstreamProtocol) -> Box<HttpPeer> {
        let (options, group_key) = match protocol {
            UpstreamProtocol::Http1 => (&self.http1, 0),
            UpstreamProtocol::H2c => (&self.h2c, H2C_GROUP),
        };
        Box::new(HttpPeer {
            _address: PeerAddress::Inet(address),
            scheme: Scheme::HTTP,
            sni: String::new(),
            proxy: None,
            client_cert_key: None,
            group_key,
            options: options.clone(),
        })
    }
}

/// What is spoken for a request: an upgrade needs HTTP/1.1 (there is no RFC 8441 here), and so may its route.
pub fn protocol_for(cluster: UpstreamProtocol, force_http1: bool, is_upgrade: bool) -> UpstreamProtocol {
    if force_http1 || is_upgrade { UpstreamProtocol::Http1 } else { cluster }
}
