//! What the watchers have in common: when everything has been listed once, and whether the server can be reached.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::metrics;
use super::request::Failure;
use crate::work_queue::WorkQueue;

/// Counts the watchers that have not yet said all there is.
#[derive(Debug)]
pub(super) struct Gate {
    waiting: AtomicUsize,
    begun: Instant,
}

impl Gate {
    pub(super) fn new(watchers: usize) -> Self {
        Self { waiting: AtomicUsize::new(watchers), begun: Instant::now() }
    }

    /// One watcher has said all there is, or has found that it may not. To be called once by each.
    pub(super) fn pass(&self, queue: &WorkQueue) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let took = self.begun.elapsed();
        metrics::listed(took);
        tracing::info!(seconds = took.as_secs_f64(), "everything has been listed once");
        queue.mark_synced();
    }
}

/// Counts the watchers that get no answer. One log line when the server goes away, and one when it is back, however
/// many watchers there are.
#[derive(Debug, Default)]
pub(super) struct Contact {
    lost: AtomicUsize,
}

impl Contact {
    /// One watcher has no answer any more. To be called once until it says [`Contact::back`].
    pub(super) fn lost(&self, failure: &Failure) {
        let lost = self.lost.fetch_add(1, Ordering::AcqRel) + 1;
        metrics::broken(lost);
        if lost == 1 {
            tracing::warn!(error = %failure, "the API server does not answer as it should; what is known stays in effect");
        }
    }

    /// It has one again.
    pub(super) fn back(&self) {
        let lost = self.lost.fetch_sub(1, Ordering::AcqRel) - 1;
        metrics::broken(lost);
        if lost == 0 {
            tracing::info!("the API server answers again");
        }
    }
}
