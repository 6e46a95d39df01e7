//! The head of a response.

use super::{BodyLength, Fields, Version};

/// The head of a response, interim (1xx) or final, from an endpoint or from the gateway itself.
///
/// Invariant: `fields` holds no `Transfer-Encoding`, and `Content-Length` at most once, as digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The protocol it came by.
    pub version: Version,
    /// The status: 100 to 999.
    pub status: u16,
    /// The fields. A `Content-Length` says the length that the endpoint declared, also where no body follows (HEAD, 304).
    pub fields: Fields,
    /// The length of the body that follows.
    pub body: BodyLength,
}

impl ResponseHead {
    /// Creates a head without fields.
    pub fn new(status: u16, body: BodyLength) -> Self {
        Self { version: Version::Http11, status, fields: Fields::default(), body }
    }

    /// Returns `true` for an interim response, which another one follows. 101 is final: it ends HTTP on its connection.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Returns `true` for a status that never has a body (RFC 9110 §6.4.1).
    pub fn is_bodiless(status: u16) -> bool {
        (100..200).contains(&status) || status == 204 || status == 304
    }
}
