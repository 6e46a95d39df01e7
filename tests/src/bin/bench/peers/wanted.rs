//! Limits on the cost of Postern, as multiples of its peers.

use super::case::Case;
use super::peer::Kind;

/// The most that Postern may cost in a case, as a multiple of a peer; `None` where nothing is asked for.
pub(super) fn at_most(case: Case, kind: Kind) -> Option<f64> {
    use Case::{
        Bidi, Grpc, H1, H1On64, H1On1000, H2, H2On64, H2On1000, H2OneStream, Handshake, IdleH1, IdleH2, Large, LargeH2,
        Upload, UploadH2, Websocket,
    };
    match (kind, case) {
        (Kind::Nginx, H1) => Some(0.85),
        (Kind::Envoy, H1) => Some(0.30),
        (Kind::Nginx, H2 | H2OneStream | IdleH1 | IdleH2) => Some(1.0),
        (Kind::Envoy, H2) => Some(0.33),
        (
            Kind::Nginx,
            Large | LargeH2 | Upload | UploadH2 | H1On64 | H1On1000 | H2On64 | H2On1000 | Grpc | Bidi | Websocket,
        ) => Some(1.1),
        (Kind::Nginx, Handshake) => Some(0.6),
        (Kind::Envoy, Handshake) => Some(0.55),
        (Kind::Baseline, H1 | H2) => Some(0.4),
        _ => None,
    }
}
