//! The end of the process, in order.

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{App, termination};
use crate::drain::Phase;

impl App {
    /// Readiness off while still accepting, then listeners closed and requests ended, then the deadline. A second signal
    /// is the deadline.
    pub(super) async fn drain(&self) {
        let began = Instant::now();
        let config = self.tuning.config();
        let deadline = began + config.drain_timeout;
        self.health.set_draining();
        self.phase.send_replace(Phase::Draining);
        tracing::info!(connections = self.admission.open(), "draining");
        tokio::select! {
            ended = self.finish(began + config.drain_delay, deadline) => self.report(ended, began),
            () = termination() => self.report(false, began),
        }
    }

    /// Returns whether every connection ended by itself.
    async fn finish(&self, close: Instant, deadline: Instant) -> bool {
        sleep_until(close).await;
        self.phase.send_replace(Phase::Closing);
        timeout_at(deadline, self.admission.closed()).await.is_ok()
    }

    fn report(&self, ended: bool, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        if ended {
            tracing::info!(seconds, "drained");
        } else {
            tracing::warn!(seconds, connections = self.admission.open(), "drain cut short; connections are dropped");
        }
        self.phase.send_replace(Phase::Expired);
    }
}
