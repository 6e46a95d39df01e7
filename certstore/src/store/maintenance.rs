//! What is done once a second: late evictions, retries that are due, refusals that are over, a look at expiry and advice.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::Shared;

const PERIOD: Duration = Duration::from_secs(1);
/// Periods between two looks at what takes longer and changes slowly.
const SLOW: u32 = 10;

/// Ends when the store is dropped.
pub(super) async fn run(store: Weak<Shared>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut expired = 0;
    for tick in 0_u32.. {
        ticks.tick().await;
        let Some(shared) = store.upgrade() else { return };
        shared.maintain();
        expired = shared.report_expired(expired);
        if tick % SLOW == 0 {
            shared.cache.count_expiring();
            shared.advisor.fold(shared.metrics.hits.get());
            shared.advisor.publish();
        }
    }
}

impl Shared {
    fn maintain(self: &Arc<Self>) {
        self.cache.settle();
        let now = Instant::now();
        let mut desk = self.desk();
        desk.refusals.expire(now);
        for secret in desk.retries.take_due(now) {
            desk.dirty.push(&secret);
        }
        self.reload_dirty(&mut desk);
        self.metrics.refused.set(desk.refusals.len() as f64);
    }

    /// Certificates expire in the cache too; says so when there are more than before.
    fn report_expired(&self, before: u64) -> u64 {
        let expired = self.cache.count_expired();
        if expired > before {
            warn!(expired, "cached certificates have expired and are served");
        }
        expired
    }
}
