//! Advice as metrics.

use std::sync::OnceLock;

use metrics::{Gauge, describe_gauge, gauge};

use super::{Advice, SHARE_NAMES, SHARES};

/// Fewer references tell nothing.
const LEAST_REFERENCES: f64 = 100.0;

/// Describes the metrics.
pub(crate) fn describe() {
    describe_gauge!(
        "postern_certstore_advice_hit_ratio",
        "Share of certificates that would be found in a cache with a budget of budget_share times the present one."
    );
    describe_gauge!(
        "postern_certstore_advice_error",
        "Hit ratio that is simulated for the present budget, less the one that is measured."
    );
}

/// Gauges, registered when there is something to tell: a ratio of 0 would be a lie.
#[derive(Debug, Default)]
pub(super) struct Figures(OnceLock<Gauges>);

#[derive(Debug)]
struct Gauges {
    ratios: [Gauge; SHARE_NAMES.len()],
    error: Gauge,
}

impl Figures {
    pub(super) fn publish(&self, advice: &Advice) {
        if advice.references < LEAST_REFERENCES {
            return;
        }
        let gauges = self.0.get_or_init(|| Gauges {
            ratios: SHARE_NAMES.map(|share| gauge!("postern_certstore_advice_hit_ratio", "budget_share" => share)),
            error: gauge!("postern_certstore_advice_error"),
        });
        for (gauge, share) in gauges.ratios.iter().zip(SHARES) {
            let size = advice.sizes.iter().find(|size| size.share.total_cmp(&share).is_eq());
            gauge.set(size.map_or(f64::NAN, |size| size.hit_ratio));
        }
        gauges.error.set(advice.error.unwrap_or(0.0));
    }
}
