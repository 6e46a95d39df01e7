//! The cases, and the client of each.

use clap::ValueEnum;

use super::client::{Client, H2load, Own, Wrk};
use crate::backend::UPLOAD;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// HTTP/1.1: 16 connections, responses of 1 KiB.
    H1,
    /// HTTP/2: 4 connections with 10 streams each, responses of 1 KiB.
    H2,
    /// HTTP/2: 16 connections with a stream each, responses of 1 KiB.
    #[value(name = "h2-16x1")]
    H2OneStream,
    /// HTTP/1.1: 8 connections, responses of 1 MiB.
    Large,
    /// HTTP/2: 8 connections with a stream each, responses of 1 MiB.
    LargeH2,
    /// HTTP/1.1: 16 connections, requests with a body of 64 KiB.
    Upload,
    /// HTTP/2: 16 connections with a stream each, requests with a body of 64 KiB.
    UploadH2,
    /// HTTP/1.1: 64 connections, responses of 1 KiB.
    #[value(name = "h1-64")]
    H1On64,
    /// HTTP/1.1: 1,000 connections, responses of 1 KiB.
    #[value(name = "h1-1000")]
    H1On1000,
    /// HTTP/2: 64 connections with a stream each, responses of 1 KiB.
    #[value(name = "h2-64")]
    H2On64,
    /// HTTP/2: 1,000 connections with a stream each, responses of 1 KiB.
    #[value(name = "h2-1000")]
    H2On1000,
    /// A full handshake with X25519, a request over HTTP/1.1, and a close.
    Handshake,
    /// Unary gRPC: HTTP/2 on both sides, 4 connections with 10 streams each, trailers.
    Grpc,
    /// gRPC streams in both directions: 16 connections with 10 streams each, messages of 100 bytes, one at a time.
    Bidi,
    /// Frames of `WebSockets`: 16 connections, messages of 100 bytes, one at a time.
    Websocket,
    /// Memory per idle connection, HTTP/1.1.
    IdleH1,
    /// Memory per idle connection, HTTP/2.
    IdleH2,
}

impl Case {
    /// Returns `true` if memory is measured and not CPU time.
    pub(super) fn is_about_memory(self) -> bool {
        matches!(self, Self::IdleH1 | Self::IdleH2)
    }

    /// Returns `true` if opening the connections takes so long that it must not be measured.
    pub(super) fn is_slow_to_open(self) -> bool {
        matches!(self, Self::H1On1000 | Self::H2On1000)
    }

    /// The client that makes the load.
    pub(super) fn client(self) -> Client {
        const KIB: &str = "/1k";
        const MIB: &str = "/1m";
        let h1 = |connections, path| Client::Wrk(Wrk { connections, path, body: false });
        let h2 = |connections, streams, path| Client::H2load(H2load { connections, streams, path, body: None });
        match self {
            Self::H1 => h1(16, KIB),
            Self::H1On64 => h1(64, KIB),
            Self::H1On1000 => h1(1_000, KIB),
            Self::Large => h1(8, MIB),
            Self::Upload => Client::Wrk(Wrk { connections: 16, path: UPLOAD, body: true }),
            Self::H2 => h2(4, 10, KIB),
            Self::H2OneStream => h2(16, 1, KIB),
            Self::H2On64 => h2(64, 1, KIB),
            Self::H2On1000 => h2(1_000, 1, KIB),
            Self::LargeH2 => h2(8, 1, MIB),
            Self::UploadH2 => {
                Client::H2load(H2load { connections: 16, streams: 1, path: UPLOAD, body: Some(("upload", None)) })
            }
            Self::Grpc => {
                let body = Some(("grpc", Some("application/grpc")));
                Client::H2load(H2load { connections: 4, streams: 10, path: "/grpc/test.Test/Unary", body })
            }
            Self::Handshake => Client::Own(Own::Handshakes),
            Self::Bidi => Client::Own(Own::Bidi),
            Self::Websocket => Client::Own(Own::Websocket),
            Self::IdleH1 => Client::Own(Own::Hold { http2: false }),
            Self::IdleH2 => Client::Own(Own::Hold { http2: true }),
        }
    }
}
