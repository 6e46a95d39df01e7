//! Knative's probes: they ask which version of a `KIngress` is served.
//!
//! `K-Network-Hash: override` asks for the hash of the object (knative.dev/networking `pkg/ingress/ingress.go`). A probe,
//! which says that it is one, is answered here: whether a backend could answer is another question. Any other request
//! takes the hash along to its backend.

use http::StatusCode;

use super::respond::Reply;
use crate::message::{Fields, Name};
use crate::route::Matched;

/// The value that asks for the hash. Any other is somebody else's answer and passes.
const OVERRIDE: &[u8] = b"override";

/// The value that marks a probe.
const PROBE: &[u8] = b"probe";

/// Returns the reply to a probe for the hash; `None` for any other request.
pub(super) fn answer(matched: &Matched, fields: &Fields) -> Option<Reply> {
    if !asks_for_hash(fields) || fields.get(Name::NetworkProbe)? != PROBE {
        return None;
    }
    let hash = matched.probe_hash()?;
    let reply = Reply::new(StatusCode::OK, "this gateway serves the version with this hash");
    Some(reply.with(Name::NetworkHash, hex(&hash)))
}

/// Puts the hash in place of `override`.
pub(super) fn insert_hash(fields: &mut Fields, matched: &Matched) {
    if asks_for_hash(fields)
        && let Some(hash) = matched.probe_hash()
    {
        fields.set(Name::NetworkHash, hex(&hash).as_bytes());
    }
}

fn asks_for_hash(fields: &Fields) -> bool {
    fields.get(Name::NetworkHash).is_some_and(|value| value == OVERRIDE)
}

fn hex(bytes: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
