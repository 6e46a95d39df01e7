//! What applying tells the operator.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::tables::Snapshot;

/// Handles that were registered once.
pub(super) struct Figures {
    version: Gauge,
    updates: Counter,
    seconds: Histogram,
    hosts: Gauge,
    clusters: Gauge,
    bindings: Gauge,
}

impl Figures {
    pub(super) fn new() -> Self {
        let resources = |kind: &'static str| metrics::gauge!("postern_config_resources", "kind" => kind);
        Self {
            version: metrics::gauge!("postern_config_version"),
            updates: metrics::counter!("postern_config_updates_total"),
            seconds: metrics::histogram!("postern_config_apply_seconds"),
            hosts: resources("virtual_host"),
            clusters: resources("cluster"),
            bindings: resources("tls_binding"),
        }
    }

    pub(super) fn applied(&self, version: u64, took: Duration) {
        self.version.set(version as f64);
        self.updates.increment(1);
        self.seconds.record(took);
    }

    pub(super) fn resources(&self, snapshot: &Snapshot) {
        self.hosts.set(snapshot.routes.len() as f64);
        self.clusters.set(snapshot.clusters.len() as f64);
        self.bindings.set(snapshot.tls.len() as f64);
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

/// Describes the metrics of applying configuration.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!("postern_config_version", "Version of the Update that was applied last");
    metrics::describe_counter!("postern_config_updates_total", "Updates that were applied");
    metrics::describe_histogram!("postern_config_apply_seconds", Unit::Seconds, "Time to apply an Update");
    metrics::describe_gauge!("postern_config_resources", "Resources in the running tables, by kind");
}
