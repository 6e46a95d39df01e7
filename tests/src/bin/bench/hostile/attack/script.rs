//! Behaviour of one connection of an attack, from its opening to its end.

use std::io;

use postern_tests::client::Stream;

use super::counts::Counts;
use super::hello::Hello;
use super::http1::Http1;
use super::http2::Http2;
use super::pace::Pace;

/// Behaviour of one connection.
#[derive(Clone, Debug)]
pub(in super::super) enum Script {
    Http1(Http1),
    Http2(Http2),
    /// Bytes of a handshake, on a bare connection.
    Hello(Hello),
}

/// Properties that a script needs of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Protocol to agree on; `None` for a connection without handshake.
    pub(super) alpn: Option<&'static str>,
    /// Bytes that the kernel may receive ahead; `None` for its default.
    pub(super) receive_buffer: Option<u32>,
}

impl Script {
    pub(super) fn needs(&self) -> Needs {
        /// The kernel doubles it.
        const SMALL: u32 = 4 * 1024;
        match self {
            Self::Http1(_) => Needs { alpn: Some("http/1.1"), receive_buffer: Some(SMALL) },
            Self::Http2(_) => Needs { alpn: Some("h2"), receive_buffer: None },
            Self::Hello(_) => Needs { alpn: None, receive_buffer: Some(SMALL) },
        }
    }

    /// Goes on until the connection ends.
    pub(super) async fn run(
        &self,
        stream: Box<dyn Stream>,
        number: usize,
        counts: &Counts,
        pace: &Pace,
    ) -> io::Result<()> {
        match self {
            Self::Http1(script) => script.run(stream, number, counts).await,
            Self::Http2(script) => script.run(stream, counts, pace).await,
            Self::Hello(script) => script.run(stream).await,
        }
    }
}
