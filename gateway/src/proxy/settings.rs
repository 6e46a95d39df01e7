//! Settings of the proxy, with their defaults.

use std::time::Duration;

use crate::connection::HEADER_LIMIT;
use crate::upstream::UpstreamTimeouts;

use super::trust::Hops;

/// Settings of the proxy; a value is valid by its types.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed. Default: none.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Proxies in front, by their number. Default: none.
    pub hops: Option<Hops>,
    /// Most bytes of a request's head; more is 431. Default [`HEADER_LIMIT`].
    pub max_header_bytes: u32,
    /// Most header fields of a request; more is 431. Default 100, as Envoy.
    pub max_headers: usize,
    /// Most bytes of a request's body; more is 413. Default: no limit.
    pub max_request_body: Option<u64>,
    /// What happens to header fields with `_` in their name. Default: those that would collide with a field that the gateway
    /// sets are dropped.
    pub underscore_headers: UnderscoreHeaders,
    /// How long a request waits for an endpoint that can be reached. Default 5 s.
    pub endpoint_wait: Duration,
    /// How many requests may wait for an endpoint at once. Default 1024.
    pub max_waiting: usize,
    /// Timeouts of upstream connections. Default: connect 5 s as Kourier, idle 1.8 s, ping 20 s.
    pub upstream: UpstreamTimeouts,
    /// How long a request or response may be silent, downstream or upstream; `None` for ever. Default: none, as Kourier.
    pub stream_idle: Option<Duration>,
    /// Whether a line per request is written. Default: yes.
    pub access_log: bool,
}

/// The treatment of header fields with `_` in their name: `X_Forwarded_For` and `X-Forwarded-For` are the same to CGI-like
/// backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// Those that read like a field that the gateway sets or removes are dropped, the others passed on.
    #[default]
    Safe,
    /// All are dropped, as nginx does.
    Drop,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            hops: None,
            max_header_bytes: HEADER_LIMIT,
            max_headers: 100,
            max_request_body: None,
            underscore_headers: UnderscoreHeaders::default(),
            endpoint_wait: Duration::from_secs(5),
            max_waiting: 1024,
            upstream: UpstreamTimeouts::default(),
            stream_idle: None,
            access_log: true,
        }
    }
}
