//! The store: references to certificates, loaded when first asked for, within a budget of bytes.

mod backoff;
mod builder;
mod cache;
mod desk;
mod faults;
mod flights;
mod gather;
mod landing;
mod load;
mod maintenance;
mod recover;
mod report;
mod waiter;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use builder::Builder;
pub(crate) use faults::describe_metrics;
pub use faults::{FaultInfo, Refused, Serving};
pub use report::{EntryInfo, Page, RefusalInfo, SecretState, Stats};

use crate::advice::{Advice, Advisor};
use crate::certificate::Certificate;
use crate::error::CertError;
use crate::fairness::{ClientKey, Gate};
use crate::metrics::Metrics;
use crate::secret::SecretRef;
use crate::source::SecretSource;
use builder::Limits;
use cache::Cache;
pub(crate) use cache::capacity;
use desk::Desk;
use recover::Fallback;
use waiter::Asking;

/// What a load brought, for all who wait for it.
type Outcome = Result<Arc<Certificate>, CertError>;

/// Certificates of Secrets, loaded when first asked for and kept within a budget of bytes.
///
/// Its background work (loads, a look at the clock once a second) runs on the tokio runtime of the first
/// [`certificate`](Self::certificate) call, unless it [has one of its own](Builder::runtime), and ends when the store is
/// dropped.
pub struct CertStore {
    shared: Arc<Shared>,
}

/// What the store and its tasks share.
struct Shared {
    source: Arc<dyn SecretSource>,
    limits: Limits,
    cache: Cache,
    sealed: Option<Fallback>,
    desk: Mutex<Desk>,
    gate: Arc<Gate>,
    load_permits: Semaphore,
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
    advisor: Advisor,
    started: Instant,
    background: OnceLock<(Handle, AbortHandle)>,
    /// Where it is to run.
    runtime: Option<Handle>,
}

impl CertStore {
    /// A store that loads from `source`; [`Builder`] says what can be set.
    pub fn builder(source: Arc<dyn SecretSource>) -> Builder {
        Builder::new(source)
    }

    /// The certificate, if it is cached: no allocation, no waiting. `None` counts neither as a miss nor when it is
    /// decided what is worth keeping: [`certificate`](Self::certificate) does that.
    pub fn cached(&self, secret: &SecretRef) -> Option<Arc<Certificate>> {
        self.shared.cache.peek(secret).map(|certificate| self.shared.hit(certificate))
    }

    /// The certificate, loaded if need be; `server_name` is the name that it is configured for.
    ///
    /// What is cached comes at once, by one lookup. One load serves all who wait for the same Secret. A certificate that
    /// does not cover `server_name` is served and reported once. Dropping the future gives up waiting, and so does the
    /// deadline; the load goes on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn certificate(&self, secret: &SecretRef, server_name: &str) -> Outcome {
        if let Some(certificate) = self.shared.cache.get(secret) {
            self.shared.report_name(&certificate, server_name);
            return Ok(self.shared.hit(certificate));
        }
        self.shared.ask_for(secret, server_name, Asking::new(None)).await
    }

    /// As [`certificate`](Self::certificate), for a client: if it asks for more that is not cached than is fair
    /// ([`fairness`](crate::fairness)), it waits for its turn, for no longer than the deadline.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn certificate_for(&self, secret: &SecretRef, server_name: &str, client: ClientKey) -> Outcome {
        if let Some(certificate) = self.shared.cache.get(secret) {
            self.shared.report_name(&certificate, server_name);
            return Ok(self.shared.hit(certificate));
        }
        self.shared.ask_for(secret, server_name, Asking::new(Some(client))).await
    }

    /// Changes how many loads may begin in a second for handshakes of known clients.
    pub fn set_miss_rate(&self, loads: u64) {
        self.shared.gate.set_rate(loads);
    }

    /// Tells that the Secret is now at `version`, or exists now.
    ///
    /// A cached certificate is loaded anew in the background and serves until the new one has passed; a load that is
    /// under way starts over; an earlier refusal ends, and if it is among the [`faults`](Self::faults), the Secret is
    /// looked at again in the background. For any other Secret nothing happens. Versions are compared for equality only.
    pub fn secret_changed(&self, secret: &SecretRef, version: &str) {
        let mut desk = self.shared.desk();
        desk.refusals.forget(secret);
        if let Some(sealed) = &self.shared.sealed {
            sealed.tier.changed(secret, version);
        }
        if desk.flights.changed(secret) {
            return;
        }
        let is_wanted = match self.shared.cache.peek(secret) {
            Some(certificate) => certificate.version() != Some(version) || certificate.last_error().is_some(),
            // It may have healed.
            None => desk.faults.is_refused(secret),
        };
        if is_wanted {
            desk.dirty.push(secret);
            self.shared.reload_dirty(&mut desk);
        }
    }

    /// Tells that the Secret is gone, or not for us any more: from now on its certificate is not handed out, and a
    /// load that is under way brings nothing.
    pub fn secret_removed(&self, secret: &SecretRef) {
        let mut desk = self.shared.desk();
        desk.forget(secret);
        self.shared.unseal(secret);
        if let Some(flight) = desk.flights.cancel(secret) {
            flight.deliver(Err(CertError::Removed { secret: secret.clone() }));
        }
        self.shared.cache.remove(secret);
        self.shared.advisor.removed(secret);
        self.shared.reload_dirty(&mut desk);
    }

    /// Changes the budget. The entries used most stay, as many as fit.
    ///
    /// Takes a time in proportion to the number of entries (a few µs each), in which hits, loads and removals go on. After
    /// a change to much less, [`gather`](Self::gather) lets the process become smaller too.
    pub fn set_budget(&self, bytes: u64) {
        self.resize(bytes);
        self.shared.advisor.set_budget(bytes);
    }

    /// Changes the budget for as long as memory is short. [`advice`](Self::advice) goes on about the budget before.
    pub fn shrink_to(&self, bytes: u64) {
        self.resize(bytes);
    }

    fn resize(&self, bytes: u64) {
        self.shared.cache.set_budget(bytes, self.shared.millis(), || self.shared.desk());
    }

    /// What other budgets would bring, from the use of the last hours.
    pub fn advice(&self) -> Advice {
        self.shared.advisor.fold(self.shared.metrics.hits.get());
        self.shared.advisor.advice()
    }
}

impl fmt::Debug for CertStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Drop for CertStore {
    /// Ends the background work.
    fn drop(&mut self) {
        if let Some((_, maintenance)) = self.shared.background.get() {
            maintenance.abort();
        }
        self.shared.desk().flights.cancel_all();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // What a panicking holder leaves is consistent: each entry stands on its own.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the certificate is used.
    fn hit(&self, certificate: Arc<Certificate>) -> Arc<Certificate> {
        certificate.touch(self.millis());
        certificate.count_use();
        self.metrics.hits.increment();
        self.advisor.refer(certificate.secret(), certificate.bytes());
        certificate
    }

    /// Milliseconds on the store's clock, for the stamps of entries. Never 0, which is "not used yet".
    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// The runtime of the background work, which begins with the first call.
    fn runtime(self: &Arc<Self>) -> &Handle {
        let (runtime, _) = self.background.get_or_init(|| {
            let runtime = self.runtime.clone().unwrap_or_else(Handle::current);
            let maintenance = runtime.spawn(maintenance::run(Arc::downgrade(self)));
            (runtime, maintenance.abort_handle())
        });
        runtime
    }
}
