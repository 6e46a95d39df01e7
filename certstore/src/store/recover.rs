//! When the source is away, or delivers what cannot be served: an encrypted copy instead of a load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::desk::Desk;
use super::faults::Serving;
use super::load::Loaded;
use super::{Outcome, Shared};
use crate::certificate::{Certificate, Copied};
use crate::metrics::Metrics;
use crate::sealed::{SealedText, SealedTier};
use crate::secret::{SecretData, SecretRef};

/// How long the source may take before it counts as away, where there is a copy. An API server that is well answers a GET
/// within tens of milliseconds; what it says later is taken over by a reload.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same while it is known to be away, so that loads don't hold each other up.
const LITTLE_PATIENCE: Duration = Duration::from_millis(100);

/// Encrypted copies, and whether they are needed.
pub(super) struct Fallback {
    pub(super) tier: SealedTier,
    /// The source did not answer when it was asked last.
    away: AtomicBool,
}

impl Fallback {
    pub(super) fn new(tier: SealedTier) -> Self {
        Self { tier, away: AtomicBool::new(false) }
    }

    /// One line when the copies are needed, and one when they no longer are.
    fn set_away(&self, away: bool) {
        if self.away.swap(away, Relaxed) == away {
            return;
        }
        if away {
            warn!("the source of secrets does not answer; what is not in memory is served from sealed copies");
        } else {
            info!("the source of secrets answers again");
        }
    }
}

impl Shared {
    /// How long the source is waited for, if there is something to serve instead.
    pub(super) fn patience(&self, secret: &SecretRef) -> Option<Duration> {
        let sealed = self.sealed.as_ref()?;
        let has_copy = !self.cache.contains(secret) && sealed.tier.has(secret);
        has_copy.then(|| if sealed.away.load(Relaxed) { LITTLE_PATIENCE } else { PATIENCE })
    }

    /// Waits for a turn to ask the source. Where there is a copy, not for long: others may be waiting for a source that
    /// is away.
    pub(super) async fn turn(&self, secret: &SecretRef) -> Option<SemaphorePermit<'_>> {
        let turn = self.load_permits.acquire();
        match self.patience(secret) {
            Some(patience) => timeout(patience, turn).await.ok()?.ok(),
            None => turn.await.ok(),
        }
    }

    /// Takes a copy in place of a load that failed because the source is away, or what it delivers is rejected. What is
    /// cached needs none: it stays.
    pub(super) async fn recover(&self, secret: &SecretRef, asked_for: &str, loaded: Loaded) -> Loaded {
        let Some(sealed) = &self.sealed else { return loaded };
        let Some(error) = loaded.result.as_ref().err().filter(|error| error.is_absence() || error.is_rejection())
        else {
            sealed.set_away(false);
            return loaded;
        };
        let (error, is_away) = (error.clone(), error.is_absence());
        if !is_away {
            sealed.set_away(false);
        }
        if self.cache.contains(secret) {
            return loaded;
        }
        let Some(copy) = sealed.tier.read(secret).await else { return loaded };
        if is_away {
            sealed.set_away(true);
        }
        let copied = Copied { is_stale: copy.is_stale };
        match self.accept(secret, &copy.data, asked_for) {
            Ok((certificate, warnings)) => {
                Loaded { result: Ok(Arc::new(certificate.copied(copied, error))), sealed: None, warnings }
            }
            // It passed when it was sealed.
            Err(_) => loaded,
        }
    }

    /// An encrypted copy of what was loaded.
    pub(super) fn seal(&self, result: &Outcome, data: &SecretData) -> Option<SealedText> {
        let certificate = result.as_ref().ok()?;
        self.sealed.as_ref()?.tier.seal(certificate.secret(), data)
    }

    /// Keeps the copy of what was loaded, and none of what is gone.
    pub(super) fn keep_copy(&self, secret: &SecretRef, result: &Outcome, copy: Option<SealedText>) {
        match (result, copy, &self.sealed) {
            (Ok(_), Some(copy), Some(sealed)) => sealed.tier.put(secret, copy),
            (Err(error), _, _) if error.is_gone() => self.unseal(secret),
            _ => {}
        }
    }

    /// The copy is not to be used any more.
    pub(super) fn unseal(&self, secret: &SecretRef) {
        if let Some(sealed) = &self.sealed {
            sealed.tier.remove(secret);
        }
    }

    /// Serves a copy, and asks the source again in the background until it answers with what can be served.
    pub(super) fn keep_copied(&self, desk: &mut Desk, certificate: &Arc<Certificate>) {
        self.keep(desk, certificate, self.millis());
        let Some(error) = certificate.last_error() else { return };
        let secret = certificate.secret();
        if error.is_rejection() {
            Metrics::reject(&error);
            desk.faults.refused(secret, &error, Serving::SealedCopy);
            warn!(%secret, error = super::landing::report(&error), "serving the sealed copy of the last good certificate");
        }
        desk.retries.failed(secret, error, Instant::now());
    }
}
