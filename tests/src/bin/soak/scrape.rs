//! What the gateway's metrics say of itself.

use postern_tests::gateway::{Gateway, Metrics};
use serde::Serialize;

/// Metrics of the gateway, at one moment. Counts are since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Scrape {
    /// Bytes that cached certificates are weighed with.
    pub(crate) cache_bytes: f64,
    pub(crate) cache_entries: f64,
    pub(crate) hits: f64,
    pub(crate) misses: f64,
    /// Certificates that were renewed while they were cached, and replaced.
    pub(crate) swaps: f64,
    /// What it counts against its limit, in bytes.
    pub(crate) working_set: f64,
    /// How it has divided its limit; all 0 without one.
    pub(crate) plan: Plan,
    /// Bytes of bodies that wait for clients or endpoints, and how many may; 0 if it does not say.
    pub(crate) buffered_bytes: f64,
    pub(crate) buffered_limit: f64,
    /// The stage of overload: 0 none, 1 shrink, 2 close, 3 refuse.
    pub(crate) overload_stage: f64,
    /// How often it came to the stages close and refuse.
    pub(crate) close_stages: f64,
    pub(crate) refuse_stages: f64,
    /// Connections and handshakes, and requests, that were refused for lack of memory.
    pub(crate) refused_connections: f64,
    pub(crate) refused_requests: f64,
    /// Connections beyond a cap, certificates that were not loaded since too many were asked for, and requests that were
    /// ended for what waited of their bodies.
    pub(crate) capped_connections: f64,
    pub(crate) capped_loads: f64,
    pub(crate) capped_bodies: f64,
}

/// How the memory limit is divided, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Plan {
    pub(crate) fixed: f64,
    pub(crate) routes: f64,
    pub(crate) certificates: f64,
    pub(crate) connections: f64,
    pub(crate) headroom: f64,
}

impl Scrape {
    /// Asks the gateway; it may be too busy to answer.
    pub(crate) async fn of(gateway: &Gateway) -> Option<Self> {
        Some(Self::read(&gateway.metrics().await.ok()?))
    }

    fn read(metrics: &Metrics) -> Self {
        let sum = |name: &str| metrics.sum(name);
        let with = |name: &str, label: &str, values: &[&str]| -> f64 {
            values.iter().map(|value| metrics.sum_where(name, &format!("{label}=\"{value}\""))).sum()
        };
        let part = |part| with("postern_memory_plan_bytes", "part", &[part]);
        let refused = |what: &[&str]| with("postern_overload_refused_total", "what", what);
        let stages = |stage| with("postern_overload_stage_changes_total", "stage", &[stage]);
        Self {
            cache_bytes: sum("postern_certstore_bytes"),
            cache_entries: sum("postern_certstore_entries"),
            hits: sum("postern_certstore_hits_total"),
            misses: sum("postern_certstore_misses_total"),
            swaps: with("postern_certstore_swaps_total", "outcome", &["swapped"]),
            working_set: sum("postern_memory_working_set_bytes"),
            plan: Plan {
                fixed: part("fixed"),
                routes: part("routes"),
                certificates: part("certificates"),
                connections: part("connections"),
                headroom: part("headroom"),
            },
            buffered_bytes: sum("postern_overload_buffered_bytes"),
            buffered_limit: sum("postern_overload_buffered_limit_bytes"),
            overload_stage: sum("postern_overload_stage"),
            close_stages: stages("close"),
            refuse_stages: stages("refuse"),
            refused_connections: refused(&["connection", "handshake"]),
            refused_requests: refused(&["request"]),
            capped_connections: with(
                "postern_listener_refused_total",
                "reason",
                &["max_connections", "max_connections_per_source"],
            ),
            capped_loads: with("postern_certstore_rejects_total", "reason", &["overloaded", "throttled"]),
            capped_bodies: sum("postern_overload_ended_total"),
        }
    }
}
