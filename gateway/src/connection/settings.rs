//! Limits of a downstream connection; each stops one way to hold it for nothing.

use std::time::Duration;

/// The most bytes of a request's header, in HTTP/1.1 and HTTP/2; more is 431. 60 KiB, as Envoy has it.
pub const HEADER_LIMIT: u32 = 60 * 1024;

/// How long and how much a client may take on an accepted connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From the first byte of an HTTP/1.1 request to the end of its header, and for the start of HTTP/2. 10 s: a header
    /// is one packet or a few; nobody honest takes longer.
    pub header_timeout: Duration,
    /// The most of an HTTP/1.1 header that is read while its end has not come. [`HEADER_LIMIT`].
    pub header_limit: u32,
    /// Time for which an HTTP/1.1 connection may wait for its next (or first) request. 75 s: balancers of AWS close after 60 s, and a
    /// request that meets a connection which is being closed is lost.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of what it is sent. 60 s.
    pub write_stall_timeout: Duration,
    /// After this many requests an HTTP/1.1 connection is closed, which gives its memory back. 10,000.
    pub max_requests: u32,
    /// How HTTP/2 is spoken: by ALPN on TLS listeners, with prior knowledge on plain ones.
    pub http2: Http2Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            header_limit: HEADER_LIMIT,
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(60),
            max_requests: 10_000,
            http2: Http2Settings::default(),
        }
    }
}

/// How HTTP/2 is spoken with clients.
#[derive(Clone, Debug)]
pub struct Http2Settings {
    /// Streams a client may have open at once. 128: RFC 9113 §6.5.2 advises no less than 100.
    pub max_concurrent_streams: u32,
    /// The largest header list, decoded. [`HEADER_LIMIT`].
    pub max_header_list_size: u32,
    /// Bytes a client may send on a stream before they are consumed. 256 KiB.
    pub stream_window: u32,
    /// Bytes a client may send on all streams of a connection before they are consumed. 1 MiB.
    pub connection_window: u32,
    /// Bytes of a response that may wait for a stream's client. 64 KiB.
    pub max_send_buffer: usize,
    /// A connection without streams is closed after this. 5 min: dialling again costs a handshake. Its end is announced, so that
    /// no request is lost.
    pub idle_timeout: Duration,
    /// Requests that are not valid HTTP/2 before the connection is closed. 32.
    pub max_malformed_streams: u32,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            max_header_list_size: HEADER_LIMIT,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_send_buffer: 64 * 1024,
            idle_timeout: Duration::from_secs(300),
            max_malformed_streams: 32,
        }
    }
}
