//! The attacks, and the behaviour of each of their connections.

use std::time::Duration;

use clap::ValueEnum;
use postern_tests::client::frames::{Block, SHUT};

use super::Transport;
use super::attack::hello::{self, Hello};
use super::attack::http1::{self, Http1};
use super::attack::http2::Http2;
use super::attack::script::Script;
use super::site::HOST;
use crate::backend::{NEVER, STUCK, bytes};

/// Streams of a connection; most servers allow 100.
const STREAMS: usize = 99;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// 100 HTTP/2 connections with shut windows: 99 streams each, responses of 60 kB.
    #[value(name = "shut-60k")]
    Shut60k,
    /// 100 HTTP/2 connections with shut windows: 99 streams each, responses of 1 MiB.
    #[value(name = "shut-1m")]
    Shut1m,
    /// 1,500 HTTP/1.1 connections that read a response of 8 MiB at 4 KiB a second.
    SlowReaders,
    /// 300 uploads over HTTP/1.1 to an endpoint that reads nothing.
    Uploads,
    /// 300 uploads over HTTP/2, 10 on each connection, to an endpoint that reads nothing.
    UploadsH2,
    /// 60 HTTP/2 connections with 100 requests of 50 kB of headers each, to an endpoint that never answers.
    Headers,
    /// The same, with headers that are 4 kB on the wire and 50 kB decoded.
    HeadersIndexed,
    /// 3,000 connections that send half of a large `ClientHello`.
    Hellos,
    /// 2,500 HTTP/2 connections that idle after one request.
    Idle,
    /// 400 HTTP/1.1 connections with 8 pipelined requests for 1 MiB each, of which nothing is read.
    Pipelined,
    /// A crawl of 300 names with certificates of 200 KiB, 200 handshakes at a time, of which nothing is read.
    Certificates,
    /// 200 HTTP/2 connections that fill the HPACK table with tiny values, each out of a frame of 8 KiB.
    Hpack,
}

impl Case {
    /// Connections that one source holds.
    pub(super) fn connections(self) -> usize {
        match self {
            Self::Shut60k | Self::Shut1m => 100,
            Self::SlowReaders => 1_500,
            Self::Uploads => 300,
            Self::UploadsH2 => 30,
            Self::Headers | Self::HeadersIndexed => 60,
            Self::Hellos => 3_000,
            Self::Idle => 2_500,
            Self::Pipelined => 400,
            Self::Certificates | Self::Hpack => 200,
        }
    }

    /// Returns `true` if the attack is on handshakes.
    pub(super) fn has_tls_only(self) -> bool {
        matches!(self, Self::Hellos | Self::Certificates)
    }

    /// Behaviour of each connection.
    pub(super) fn script(self, transport: Transport) -> Script {
        let scheme = if transport == Transport::Tls { "https" } else { "http" };
        let request = |method: &str, path: &str| Block::request(method, scheme, HOST, path);
        let get = |path: &str| request("GET", path).into_bytes();
        match self {
            Self::Shut60k => Script::Http2(Http2::new(&SHUT, vec![get(&bytes(60_000)); STREAMS]).reopening()),
            Self::Shut1m => Script::Http2(Http2::new(&SHUT, vec![get(&bytes(MIB)); STREAMS]).reopening()),
            Self::SlowReaders => {
                let slow = http1::Then::Read { bytes: 2 * KIB, every: Duration::from_millis(500) };
                Script::Http1(Http1::new(http1::get(&bytes(8 * MIB)), slow))
            }
            Self::Uploads => Script::Http1(Http1::new(http1::post(STUCK, 100 * MIB), http1::Then::Upload)),
            Self::UploadsH2 => {
                Script::Http2(Http2::new(&[], vec![request("POST", STUCK).into_bytes(); 10]).uploading())
            }
            Self::Headers => {
                let value = "h".repeat(4_000);
                let fields = 0..12;
                let block = fields
                    .fold(request("GET", NEVER), |block, number| block.field(&format!("x-attack-{number}"), &value));
                Script::Http2(Http2::new(&[], vec![block.into_bytes(); 100]).reopening())
            }
            Self::HeadersIndexed => {
                let first = request("GET", NEVER).indexed("x-attack", &"h".repeat(3_900)).newest(11).into_bytes();
                let more = request("GET", NEVER).newest(12).into_bytes();
                let mut blocks = vec![more; 100];
                blocks[0] = first;
                Script::Http2(Http2::new(&[], blocks).reopening())
            }
            Self::Hellos => Script::Hello(Hello::Half),
            Self::Idle => Script::Http2(Http2::new(&[], vec![get(&bytes(KIB))])),
            Self::Pipelined => Script::Http1(Http1::new(http1::get(&bytes(MIB)).repeat(8), http1::Then::Wait)),
            Self::Certificates => Script::Hello(Hello::Crawl { hold: hello::HOLD }),
            Self::Hpack => {
                // Each entry is 34 bytes of the table's 4,096 (RFC 7541 §4.1).
                const ENTRIES: usize = 120;
                let filler = "f".repeat(8_000);
                let block = request("GET", &bytes(1)).indexed("x", "1").field("x-filler", &filler).into_bytes();
                Script::Http2(Http2::new(&[], vec![block; ENTRIES]))
            }
        }
    }
}
