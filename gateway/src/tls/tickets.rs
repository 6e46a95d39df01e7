//! Session tickets that are good for one binding only.
//!
//! rustls resumes a session only under the server name it was made for (RFC 6066 §3). A name can be bound to another
//! Secret meanwhile, and the client would go on trusting a certificate that is no longer configured. So a ticket carries
//! the Secret as well, and is worth nothing where the name has another one: a full handshake follows.
//!
//! rustls' ticketer changes its keys when it is used, so that on a process without handshakes a ticket opens for as long as
//! nobody comes. A ticket carries its time as well, and is worth nothing after its lifetime.

use std::sync::Arc;

use certstore::SecretRef;
use rustls::server::ProducesTickets;
use tokio::time::Instant;

use super::config::SELECTED;

/// Wraps another ticketer, which encrypts.
#[derive(Debug)]
pub(super) struct BoundTickets {
    inner: Arc<dyn ProducesTickets>,
    /// Times are counted from here: other processes cannot open our tickets.
    started: Instant,
}

impl BoundTickets {
    pub(super) fn new(inner: Arc<dyn ProducesTickets>) -> Self {
        Self { inner, started: Instant::now() }
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
        self.inner.encrypt(&[&self.now().to_be_bytes(), &*binding, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let binding = current_binding()?;
        let ticket = self.inner.decrypt(cipher)?;
        let (issued, ticket) = ticket.split_first_chunk()?;
        let age = self.now().checked_sub(u64::from_be_bytes(*issued))?;
        let is_alive = age <= u64::from(self.lifetime());
        ticket.strip_prefix(&*binding).filter(|_| is_alive).map(<[u8]>::to_vec)
    }
}

impl BoundTickets {
    /// Seconds.
    fn now(&self) -> u64 {
        self.started.elapsed().as_secs()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certstore::testing::TestCa;
    use certstore::{CertStore, testing::ScriptedSource};

    use super::super::config::Selected;
    use super::*;

    const LIFETIME: u32 = 3600;

    /// Opens whatever it has closed, as rustls' ticketer does while nobody comes.
    #[derive(Debug)]
    struct Patient;

    impl ProducesTickets for Patient {
        fn enabled(&self) -> bool {
            true
        }
        fn lifetime(&self) -> u32 {
            LIFETIME
        }
        fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
            Some(plain.to_vec())
        }
        fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
            Some(cipher.to_vec())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_for_its_lifetime_and_its_secret_alone() {
        let (source, web) = (ScriptedSource::new(), SecretRef::new("shop", "web"));
        source.put(&web, TestCa::new().issue(&["shop.test"]));
        let store = CertStore::builder(source).build();
        let key = Arc::clone(store.certificate(&web, "shop.test").await.unwrap().certified_key());
        let within = |secret: SecretRef| Selected { key: Arc::clone(&key), secret };
        let tickets = BoundTickets::new(Arc::new(Patient));
        let ticket = SELECTED.sync_scope(within(web.clone()), || tickets.encrypt(b"session")).unwrap();
        let open = |secret: &SecretRef| SELECTED.sync_scope(within(secret.clone()), || tickets.decrypt(&ticket));
        let other = SecretRef::new("shop", "we");
        assert_eq!((open(&web).as_deref(), open(&other)), (Some(&b"session"[..]), None));
        tokio::time::advance(Duration::from_secs(LIFETIME.into())).await;
        assert!(open(&web).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(open(&web), None);
    }
}
