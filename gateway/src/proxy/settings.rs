//! What operators can set about proxying, with its defaults.

use std::time::Duration;

use crate::connection::HEADER_LIMIT;
use crate::upstream::peer::UpstreamTimeouts;

/// Settings of the proxy; a value is valid by its types.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed. Default: none.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Most bytes of a request's head; more is 431. Default [`HEADER_LIMIT`].
    pub max_header_bytes: u32,
    /// Most header fields of a request; more is 431. Default 100, as Envoy.
    pub max_headers: usize,
    /// Most bytes of a request's body; more is 413. Default: no limit.
    pub max_request_body: Option<u64>,
    /// What happens to header fields with `_` in their name. Default: they are dropped.
    pub underscore_headers: UnderscoreHeaders,
    /// How long a request waits for an endpoint that can be reached. Default 5 s.
    pub endpoint_wait: Duration,
    /// How many requests may wait for an endpoint at once. Default 1024.
    pub max_waiting: usize,
    /// Timeouts of upstream connections. Default: connect 5 s as Kourier, idle 30 s, ping 20 s.
    pub upstream: UpstreamTimeouts,
    /// How long a request or response may be silent, downstream or upstream; `None` for ever. Default: none, as Kourier.
    pub stream_idle: Option<Duration>,
    /// How long an HTTP/2 client may take nothing of an answer that waits for it; less while memory is short. Default 60 s.
    pub write_stall: Duration,
    /// Whether a line per request is written. Default: yes.
    pub access_log: bool,
}

/// What happens to header fields with `_` in their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// They are dropped: `X_Forwarded_For` and `X-Forwarded-For` are the same to CGI-like backends.
    #[default]
    Drop,
    /// They are passed on.
    Pass,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            max_header_bytes: HEADER_LIMIT,
            max_headers: 100,
            max_request_body: None,
            underscore_headers: UnderscoreHeaders::Drop,
            endpoint_wait: Duration::from_secs(5),
            max_waiting: 1024,
            upstream: UpstreamTimeouts {
                connect: Duration::from_secs(5),
                idle: Duration::from_secs(30),
                ping: Duration::from_secs(20),
            },
            stream_idle: None,
            write_stall: Duration::from_secs(60),
            access_log: true,
        }
    }
}
