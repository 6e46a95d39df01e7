//! What can be set before a store is built.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::backoff::Schedule;
use super::cache::Cache;
use super::desk::Desk;
use super::recover::Fallback;
use super::{CertStore, Shared};
use crate::MAX_SECRET_BYTES;
use crate::advice::Advisor;
use crate::fairness::Gate;
use crate::metrics::Metrics;
use crate::sealed::SealedTier;
use crate::source::SecretSource;

/// About 20,000 ECDSA or 8,000 RSA certificates.
const BUDGET: u64 = 64 * 1024 * 1024;
/// A load waits for an API server most of its time.
const LOAD_CONCURRENCY: usize = 16;
/// Loads in a second: more than an API server answers, so that it is a bound and no more.
const MISS_RATE: u64 = 2000;
/// Nobody waits for these, but after a mass rotation there are many, and what is served until then is out of date.
const RELOAD_CONCURRENCY: usize = 16;
/// Clients give up a handshake after 10 s or later; this leaves room for the rest of it.
const LOAD_DEADLINE: Duration = Duration::from_secs(8);
/// A disk or server that is busy answers after seconds; after this, it hangs.
const LOAD_LIMIT: Duration = Duration::from_secs(30);
/// Handshakes waiting; each holds a connection's buffers.
const WAITING: usize = 4096;
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_secs(60);
/// Refusals remembered, at some 200 bytes each.
const REFUSALS: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) reload_concurrency: usize,
    pub(super) load_deadline: Duration,
    pub(super) load_limit: Duration,
    pub(super) waiting: usize,
    pub(super) backoff: Schedule,
    pub(super) refusals: usize,
}

/// Settings of a [`CertStore`].
#[derive(Clone)]
#[must_use = "nothing happens before build()"]
pub struct Builder {
    source: Arc<dyn SecretSource>,
    budget: u64,
    load_concurrency: usize,
    miss_rate: u64,
    sealed: Option<SealedTier>,
    runtime: Option<Handle>,
    limits: Limits,
}

impl Builder {
    pub(super) fn new(source: Arc<dyn SecretSource>) -> Self {
        let limits = Limits {
            reload_concurrency: RELOAD_CONCURRENCY,
            load_deadline: LOAD_DEADLINE,
            load_limit: LOAD_LIMIT,
            waiting: WAITING,
            backoff: Schedule { first: BACKOFF_FIRST, most: BACKOFF_MOST },
            refusals: REFUSALS,
        };
        Self {
            source,
            budget: BUDGET,
            load_concurrency: LOAD_CONCURRENCY,
            miss_rate: MISS_RATE,
            sealed: None,
            runtime: None,
            limits,
        }
    }

    /// Bytes that certificates and the loads in flight may have; 64 MiB by default. With 0, nothing is kept.
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// Loads at a time for handshakes that wait; 16 by default, at least 1.
    pub fn load_concurrency(mut self, loads: usize) -> Self {
        self.load_concurrency = loads.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Loads in a second for handshakes of known clients ([`CertStore::certificate_for`]); 2000 by default.
    pub fn miss_rate(mut self, loads: u64) -> Self {
        self.miss_rate = loads;
        self
    }

    /// Loads at a time for cached Secrets that changed; 16 by default, at least 1.
    pub fn reload_concurrency(mut self, loads: usize) -> Self {
        self.limits.reload_concurrency = loads.max(1);
        self
    }

    /// The longest that a handshake waits, for its turn and for the source; 8 s by default. Keep it below the
    /// handshake's own deadline. The load goes on, for the handshakes that follow.
    pub fn load_deadline(mut self, deadline: Duration) -> Self {
        self.limits.load_deadline = deadline;
        self
    }

    /// The longest that a load takes once it has its turn, whether or not anybody waits for it; 30 s by default.
    pub fn load_limit(mut self, limit: Duration) -> Self {
        self.limits.load_limit = limit;
        self
    }

    /// The most handshakes that may wait for certificates, and the most Secrets they may wait for; further ones fail at
    /// once. 4096 by default, at least 1.
    pub fn waiting_limit(mut self, handshakes: usize) -> Self {
        self.limits.waiting = handshakes.max(1);
        self
    }

    /// How long a Secret that could not be served is left alone: `first` after the first failure, twice as long after
    /// each further one, at most `most`, and each a quarter more or less. 1 s and 60 s by default.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.limits.backoff = Schedule { first, most: most.max(first) };
        self
    }

    /// The most Secrets whose failure is remembered; 4096 by default, at least 1.
    pub fn refusal_limit(mut self, secrets: usize) -> Self {
        self.limits.refusals = secrets.max(1);
        self
    }

    /// Where copies are kept of what was loaded, for when the source is away; none by default.
    pub fn sealed(mut self, tier: SealedTier) -> Self {
        self.sealed = Some(tier);
        self
    }

    /// Where all background work runs, loads included; by default on the runtime of the first
    /// [`certificate`](CertStore::certificate) call. On a thread of their own, renewals take no time from those that shake
    /// hands, and certificates, which are kept for long, do not lie between what lives as long as a connection.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The store. It registers its metrics with the recorder that is installed now.
    pub fn build(self) -> Arc<CertStore> {
        let Self { source, budget, load_concurrency, miss_rate, sealed, runtime, limits } = self;
        let metrics = Metrics::register();
        let headroom = load_concurrency.saturating_mul(2 * MAX_SECRET_BYTES) as u64;
        let shared = Shared {
            source,
            cache: Cache::new(budget, headroom, Arc::clone(&metrics), sealed.clone()),
            sealed: sealed.map(Fallback::new),
            desk: Mutex::new(Desk::new(&limits)),
            gate: Gate::new(miss_rate, load_concurrency, limits.waiting),
            load_permits: Semaphore::new(load_concurrency),
            limits,
            waiting: AtomicUsize::new(0),
            metrics,
            advisor: Advisor::new(budget, headroom),
            started: Instant::now(),
            background: OnceLock::new(),
            runtime,
        };
        Arc::new(CertStore { shared: Arc::new(shared) })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("budget", &self.budget)
            .field("load_concurrency", &self.load_concurrency)
            .field("miss_rate", &self.miss_rate)
            .field("sealed", &self.sealed)
            .field("runtime", &self.runtime)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
