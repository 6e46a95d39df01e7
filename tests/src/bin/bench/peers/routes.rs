//! The routes that all peers are configured with.

use std::net::SocketAddr;

use super::upstream::Upstream;
use crate::backend::ECHO;

/// Requests with a prefix, and where they go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) prefix: &'static str,
    pub(super) upstream: SocketAddr,
    /// HTTP/2 without TLS, or HTTP/1.1.
    pub(super) http2: bool,
    /// `WebSockets` may be opened.
    pub(super) upgrades: bool,
}

/// All routes, longer prefixes first.
pub(super) fn routes(upstream: &Upstream) -> [Route; 5] {
    let route = |name, prefix, upstream| Route { name, prefix, upstream, http2: false, upgrades: false };
    let Upstream { http1, h2c, own, own_h2c, .. } = upstream;
    [
        Route { upgrades: true, ..route("echo", ECHO, *own) },
        Route { http2: true, ..route("bidi", "/bidi/", *own_h2c) },
        Route { http2: true, ..route("grpc", "/grpc/", *h2c) },
        route("own", "/-/", *own),
        route("fixed", "/", *http1),
    ]
}
