//! The head of a request.

use http::Method;
use smallvec::SmallVec;

use super::{BodyLength, Fields, Name, Version};

/// A host and port, without an allocation for most: names of services in a cluster have 30 to 60 bytes.
pub type Authority = SmallVec<[u8; 56]>;

/// The head of a request, as any protocol hands it over: valid in form, framing read.
///
/// Invariants: `target` is in origin-form (`/path?query`) or `*`, and holds bytes of `0x21..=0xff` without `0x7f` and
/// `#`; `fields` holds neither `Content-Length` nor `Transfer-Encoding`, nor, from HTTP/2, a pseudo-header field;
/// `Cookie` is one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The protocol it came by.
    pub version: Version,
    /// The method, as the client wrote it.
    pub method: Method,
    /// The target in origin-form, or `*`.
    pub target: Box<[u8]>,
    /// The host and port that the request is for: `:authority`, the authority of an absolute-form target, or `Host`, as the
    /// client wrote it. Empty if HTTP/1.0 names none.
    pub authority: Authority,
    /// The fields. `Host` is not among them: [`authority`](Self::authority) says it.
    pub fields: Fields,
    /// The length of the body.
    pub body: BodyLength,
    /// The protocol that the client asks to switch to: of `Upgrade` in HTTP/1.1 (if `Connection` names it), or `:protocol`
    /// of an extended CONNECT (RFC 8441), as the client wrote it.
    pub upgrade: Option<Box<[u8]>>,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// Whether the client takes trailers: `TE: trailers`, or HTTP/2.
    pub takes_trailers: bool,
}

impl RequestHead {
    /// Creates a head without fields and body.
    pub fn new(version: Version, method: Method, authority: &[u8], target: &[u8]) -> Self {
        Self {
            version,
            method,
            target: target.into(),
            authority: authority.into(),
            fields: Fields::default(),
            body: BodyLength::Empty,
            upgrade: None,
            expects_continue: false,
            takes_trailers: version == Version::Http2,
        }
    }

    /// Returns the path, without the query.
    pub fn path(&self) -> &[u8] {
        let end = self.target.iter().position(|byte| *byte == b'?').unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// Returns the authority as text; `None` if it is empty or no UTF-8.
    pub fn authority(&self) -> Option<&str> {
        std::str::from_utf8(&self.authority).ok().filter(|authority| !authority.is_empty())
    }

    /// Returns `true` if the client asks for a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.upgrade.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }

    /// Returns `true` for gRPC: `application/grpc` or `application/grpc+…`, not gRPC-Web.
    pub fn is_grpc(&self) -> bool {
        let value = self.fields.get(Name::ContentType).unwrap_or_default();
        let Some(rest) = value.get(16..).filter(|_| value[..16].eq_ignore_ascii_case(b"application/grpc")) else {
            return false;
        };
        matches!(rest.first(), None | Some(b'+'))
    }

    /// Returns the bytes of memory that the head holds.
    pub fn memory(&self) -> usize {
        self.target.len() + self.authority.len() + self.fields.memory()
    }
}
