//! Knative's probes: which version of a KIngress is served here?
//!
//! `K-Network-Hash: override` asks for the hash of the object (knative.dev/networking `pkg/ingress/ingress.go`). A probe,
//! which says that it is one, is answered here: whether a backend could answer is another question. Any other request
//! takes the hash along to its backend.

use http::{HeaderMap, HeaderName, StatusCode};
use pingora_error::Result;
use pingora_http::RequestHeader;

use super::respond::Answer;
use crate::route::Matched;

/// Carries the hash. A value other than [`OVERRIDE`] is somebody else's answer and passes.
pub(super) const NETWORK_HASH: HeaderName = HeaderName::from_static("k-network-hash");
const OVERRIDE: &str = "override";

/// Marks a probe.
const NETWORK_PROBE: HeaderName = HeaderName::from_static("k-network-probe");
const PROBE: &str = "probe";

/// The answer to a probe for the hash; `None` for any other request.
pub(super) fn answer(matched: &Matched, headers: &HeaderMap) -> Option<Answer> {
    if !asks_for_hash(headers) || headers.get(NETWORK_PROBE)? != PROBE {
        return None;
    }
    let hash = matched.probe_hash()?;
    let mut answer = Answer::new(StatusCode::OK, "this gateway serves the version with this hash");
    answer.network_hash = Some(hex(&hash));
    Some(answer)
}

/// Puts the hash in place of `override`.
pub(super) fn insert_hash(request: &mut RequestHeader, hash: Option<&[u8; 32]>) -> Result<()> {
    let Some(hash) = hash.filter(|_| asks_for_hash(&request.headers)) else { return Ok(()) };
    request.insert_header(NETWORK_HASH, hex(hash))
}

fn asks_for_hash(headers: &HeaderMap) -> bool {
    headers.get(NETWORK_HASH).is_some_and(|value| value == OVERRIDE)
}

fn hex(bytes: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
