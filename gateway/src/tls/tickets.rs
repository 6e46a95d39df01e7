//! Session tickets that are good for one binding only.
//!
//! rustls resumes a session only under the server name it was made for (RFC 6066 §3). A name can be bound to another
//! Secret meanwhile, and the client would go on trusting a certificate that is no longer configured. So a ticket carries
//! the Secret as well, and is worth nothing where the name has another one: a full handshake follows.

use std::sync::Arc;

use certstore::SecretRef;
use rustls::server::ProducesTickets;

use super::config::SELECTED;

/// Wraps another ticketer, which encrypts.
#[derive(Debug)]
pub(super) struct BoundTickets {
    inner: Arc<dyn ProducesTickets>,
}

impl BoundTickets {
    pub(super) fn new(inner: Arc<dyn ProducesTickets>) -> Self {
        Self { inner }
    }
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let binding = current_binding()?;
        self.inner.encrypt(&[&binding, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let binding = current_binding()?;
        self.inner.decrypt(cipher)?.strip_prefix(&*binding).map(<[u8]>::to_vec)
    }
}

/// The Secret this handshake is answered with, in a form that no other Secret's begins with.
fn current_binding() -> Option<Vec<u8>> {
    SELECTED.try_with(|selected| encode(&selected.secret)).ok().flatten()
}

fn encode(secret: &SecretRef) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 + secret.namespace.len() + secret.name.len());
    for part in [&secret.namespace, &secret.name] {
        bytes.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    Some(bytes)
}
