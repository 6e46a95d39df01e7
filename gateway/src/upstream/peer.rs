//! Peers: how pingora is told to connect to an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme};
use xds::resource::UpstreamProtocol;

use super::upgrade::UpgradeConnect;

/// Streams on one upstream HTTP/2 connection; pingora's default of 1 would make a connection of every request.
const MAX_H2_STREAMS: usize = 100;
/// A stream's window: enough for 100 Mbit/s at 5 ms, small enough for thousands of streams.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// A connection's window.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What the kernel may keep of an answer that is not read on, because its client does not take it, in bytes; it takes twice as
/// much for its own (`SO_RCVBUF`, socket(7)). Left to itself it keeps 900 KiB, which count against the memory limit as well.
/// Enough for 1 Gbit/s at 1 ms.
const RECEIVE_BUFFER: usize = 128 * 1024;
/// Connections of h2c peers are pooled apart: pingora's reuse hash doesn't tell the protocol.
const H2C_GROUP: u64 = 1;
/// So are those that were made for an upgrade and did not become one.
const UPGRADE_GROUP: u64 = 2;

/// Limits of upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For a TCP connection to come about.
    pub connect: Duration,
    /// How long an unused connection is kept. Below what backends use, or they close it under a request.
    pub idle: Duration,
    /// How often a quiet HTTP/2 connection is asked whether it is alive.
    pub ping: Duration,
}

/// Prepared options, cloned for each request without building anything.
#[derive(Debug)]
pub struct Peers {
    http1: PeerOptions,
    h2c: PeerOptions,
    upgrade: PeerOptions,
}

impl Peers {
    /// Prepares the options.
    pub fn new(timeouts: UpstreamTimeouts) -> Self {
        let mut http1 = PeerOptions::new();
        http1.connection_timeout = Some(timeouts.connect);
        http1.total_connection_timeout = Some(timeouts.connect);
        http1.idle_timeout = Some(timeouts.idle);
        http1.tcp_recv_buf = Some(RECEIVE_BUFFER);
        let mut h2c = http1.clone();
        h2c.set_http_version(2, 2);
        h2c.max_h2_streams = MAX_H2_STREAMS;
        h2c.h2_stream_window_size = Some(H2_STREAM_WINDOW);
        h2c.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
        h2c.h2_ping_interval = Some(timeouts.ping);
        let mut upgrade = http1.clone();
        upgrade.custom_l4 = Some(Arc::new(UpgradeConnect));
        Self { http1, h2c, upgrade }
    }

    /// The peer for an endpoint, as a request speaks to it. A stream may be silent for `stream_idle`, or for ever.
    pub fn peer(&self, address: SocketAddr, speech: Speech, stream_idle: Option<Duration>) -> Box<HttpPeer> {
        let (options, group_key) = match speech {
            Speech::Http1 => (&self.http1, 0),
            Speech::H2c => (&self.h2c, H2C_GROUP),
            Speech::Upgrade => (&self.upgrade, UPGRADE_GROUP),
        };
        let mut options = options.clone();
        options.read_timeout = stream_idle;
        options.write_timeout = stream_idle;
        Box::new(HttpPeer {
            _address: PeerAddress::Inet(address),
            scheme: Scheme::HTTP,
            sni: String::new(),
            proxy: None,
            client_cert_key: None,
            group_key,
            options,
        })
    }
}

/// How a request speaks to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// HTTP/1.1 that becomes something else.
    Upgrade,
}

impl Speech {
    /// What is spoken for a request: an upgrade needs HTTP/1.1 (there is no RFC 8441 here), and so may its route.
    pub fn of(cluster: UpstreamProtocol, force_http1: bool, is_upgrade: bool) -> Self {
        match cluster {
            _ if is_upgrade => Self::Upgrade,
            UpstreamProtocol::H2c if !force_http1 => Self::H2c,
            _ => Self::Http1,
        }
    }
}
