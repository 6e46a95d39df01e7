//! The choice of an endpoint for a request: another one after a failure, and a bounded wait when none is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::tables::{Snapshot, Tables};

use super::endpoints::Endpoint;
use super::{Cluster, dns};

/// The pause before all endpoints are tried again, at first; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause before all endpoints are tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How many endpoints are tried before a pause.
const TRIES_PER_ROUND: usize = 8;

/// How many endpoints may have failed when the time is up, for another one still to be tried: connects that time out use
/// up the time, and the next endpoint may well be healthy.
const TRIES_WHEN_LATE: usize = 3;

/// Chooses endpoints.
#[derive(Debug)]
pub struct Upstreams {
    tables: Tables,
    applied: watch::Receiver<u64>,
    waiting: Semaphore,
    gauge: metrics::Gauge,
}

/// An endpoint for a request, with its cluster.
#[derive(Debug)]
pub struct Choice {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The endpoint; counts as in flight until dropped.
    pub endpoint: Endpoint,
}

/// What a request has tried so far.
#[derive(Debug)]
pub struct Attempts {
    /// Endpoints that failed in this round.
    tried: SmallVec<[SocketAddr; 2]>,
    /// How often it has waited for an endpoint.
    rounds: u32,
    /// Arrival of the request: the time for which it may wait begins then.
    since: Instant,
}

/// Why a request finds no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The cluster is not in the tables.
    #[error("the service is not known to the gateway")]
    UnknownCluster,
    /// The cluster has no endpoint.
    #[error("the service has no ready endpoint")]
    NoEndpoint,
    /// No endpoint takes a connection.
    #[error("no endpoint of the service takes connections")]
    Unreachable,
    /// Too many requests wait already.
    #[error("too many requests wait for an endpoint")]
    Crowded,
}

impl Attempts {
    /// The attempts of a request that came at this time.
    pub fn since(since: Instant) -> Self {
        Self { tried: SmallVec::new(), rounds: 0, since }
    }

    /// An endpoint failed before it could have seen the request.
    pub fn failed(&mut self, address: SocketAddr) {
        self.tried.push(address);
    }

    fn next_round(&mut self) -> Duration {
        self.tried.clear();
        self.rounds += 1;
        (FIRST_PAUSE * 2_u32.pow((self.rounds - 1).min(8))).min(LONGEST_PAUSE)
    }
}

impl Upstreams {
    /// `applied` rises with every Update that was applied; it wakes requests whose cluster is not known yet. When more
    /// than `max_waiting` requests would wait, the others are answered with 503 at once.
    pub fn new(tables: Tables, applied: watch::Receiver<u64>, max_waiting: usize) -> Self {
        let waiting = Semaphore::new(max_waiting);
        Self { tables, applied, waiting, gauge: metrics::gauge!("postern_upstream_waiting_requests") }
    }

    /// Chooses an endpoint that this request has not tried; waits for one, for `endpoint_wait` in all. `destination` says
    /// to which cluster the request leads, and is asked again after each wait: what it waits for may have been replaced.
    ///
    /// # Errors
    /// [`Unavailable`] when the time is up, or when too many wait already.
    pub async fn choose(
        &self,
        mut destination: impl FnMut(&Snapshot) -> Option<Arc<Cluster>>,
        attempts: &mut Attempts,
        endpoint_wait: Duration,
    ) -> Result<Choice, Unavailable> {
        let mut place = None;
        loop {
            let known = destination(&self.tables.load());
            let deadline = attempts.since + endpoint_wait;
            let late = attempts.tried.len() >= TRIES_WHEN_LATE && Instant::now() >= deadline;
            let reason = match try_choose(known.as_ref(), attempts) {
                Ok(choice) if !late => return Ok(choice),
                Ok(_) => return Err(Unavailable::Unreachable),
                Err(reason) => reason,
            };
            if Instant::now() >= deadline {
                return Err(reason);
            }
            if place.is_none() {
                place = Some(self.take_place()?);
            }
            let pause = attempts.next_round().min(deadline.saturating_duration_since(Instant::now()));
            self.pause(known.as_deref(), reason, pause, deadline).await;
        }
    }

    /// Waits until it is worth looking again: for what refused until the pause is over, for what is missing until
    /// it appears. A change always ends the wait.
    async fn pause(&self, known: Option<&Cluster>, reason: Unavailable, pause: Duration, deadline: Instant) {
        let mut applied = self.applied.clone();
        applied.mark_unchanged();
        let Some(cluster) = known else {
            // Looks again now and then, in case the Update came just before the mark.
            let _ = timeout(pause.max(FIRST_PAUSE), applied.changed()).await;
            return;
        };
        let limit = if reason == Unavailable::Unreachable || cluster.dns().is_some() {
            pause
        } else {
            LONGEST_PAUSE.min(deadline.saturating_duration_since(Instant::now()))
        };
        tokio::select! {
            () = cluster.changed().notified() => {}
            // A cluster may be replaced as a whole; then the new one is looked up.
            _ = applied.changed() => {}
            () = sleep(limit) => {}
        }
    }

    fn take_place(&self) -> Result<Place<'_>, Unavailable> {
        let permit = self.waiting.try_acquire().map_err(|_| Unavailable::Crowded)?;
        self.gauge.increment(1.0);
        Ok(Place { _permit: permit, gauge: &self.gauge })
    }
}

fn try_choose(known: Option<&Arc<Cluster>>, attempts: &Attempts) -> Result<Choice, Unavailable> {
    let cluster = known.ok_or(Unavailable::UnknownCluster)?;
    dns::refresh(cluster);
    if attempts.tried.len() >= TRIES_PER_ROUND {
        return Err(Unavailable::Unreachable);
    }
    let endpoints = cluster.endpoints();
    match endpoints.choose(&attempts.tried) {
        Some(endpoint) => Ok(Choice { cluster: Arc::clone(cluster), endpoint }),
        None if endpoints.addresses().is_empty() => Err(Unavailable::NoEndpoint),
        None => Err(Unavailable::Unreachable),
    }
}

/// A place among those who wait; given back on drop, also when the request's future is dropped.
struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    gauge: &'a metrics::Gauge,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}
