//! What is seen of the program under test each second.

use postern_tests::Result;
use postern_tests::gateway::Gateway;
use serde::Serialize;

use crate::cgroup::{Cgroup, Memory};
use crate::order::{Count, Quantiles, Tick};
use crate::subject::Subject;

/// Everything at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Seconds after the start of the load.
    pub(crate) at: f64,
    /// Bytes that the kernel counts against the limit and would not give back; RSS where there is no control group.
    pub(crate) working_set: u64,
    /// All bytes that the kernel counts against the limit.
    pub(crate) usage: u64,
    /// Resident set size of the process, in bytes.
    pub(crate) rss: u64,
    /// CPU seconds that the process has used.
    pub(crate) cpu: f64,
    /// Of the gateway's metrics, if it has answered.
    pub(crate) gateway: Option<Scrape>,
    /// Full handshakes since the sample before.
    pub(crate) full: Quantiles,
    /// Resumed handshakes since the sample before.
    pub(crate) resumed: Quantiles,
    /// Failures of all kinds since the start.
    pub(crate) failures: u64,
    /// Refusals that the script has declared, since the start.
    pub(crate) declared: u64,
    /// Answered requests since the start.
    pub(crate) requests: u64,
    /// Connections that the load holds open.
    pub(crate) open: u64,
}

/// Metrics of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Scrape {
    /// Bytes that cached certificates are weighed with.
    pub(crate) cache_bytes: f64,
    pub(crate) cache_entries: f64,
    /// Since the gateway's start.
    pub(crate) hits: f64,
    /// Since the gateway's start.
    pub(crate) misses: f64,
    /// The stage of overload; 0 is none.
    pub(crate) overload_stage: f64,
}

impl Scrape {
    /// Asks the gateway; it may be too busy to answer.
    pub(crate) async fn of(gateway: &Gateway) -> Option<Self> {
        let metrics = gateway.metrics().await.ok()?;
        Some(Self {
            cache_bytes: metrics.sum("postern_certstore_bytes"),
            cache_entries: metrics.sum("postern_certstore_entries"),
            hits: metrics.sum("postern_certstore_hits_total"),
            misses: metrics.sum("postern_certstore_misses_total"),
            overload_stage: metrics.sum("postern_overload_stage"),
        })
    }
}

impl Sample {
    /// Takes one. An error means that the program is gone.
    pub(crate) async fn take(at: f64, subject: &Subject, cgroup: Option<&Cgroup>, tick: &Tick) -> Result<Self> {
        let used = subject.usage()?;
        let alone = Memory { usage: used.rss, working_set: used.rss, oom_kills: 0 };
        let memory = cgroup.map_or(Ok(alone), Cgroup::memory)?;
        Ok(Self {
            at,
            working_set: memory.working_set,
            usage: memory.usage,
            rss: used.rss,
            cpu: used.cpu.as_secs_f64(),
            gateway: subject.scrape().await,
            full: tick.full,
            resumed: tick.resumed,
            failures: tick.failures.values().sum(),
            declared: tick.count(Count::DeclaredRefusals),
            requests: tick.count(Count::Requests),
            open: tick.open,
        })
    }

    /// Share of handshakes between two samples that found their certificate in the cache; nothing if there were none.
    pub(crate) fn hit_ratio(&self, before: &Self) -> Option<f64> {
        let (now, before) = (self.gateway?, before.gateway?);
        let (hits, misses) = (now.hits - before.hits, now.misses - before.misses);
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_is_that_of_the_time_between_two_samples() {
        let of =
            |hits, misses| Sample { gateway: Some(Scrape { hits, misses, ..Scrape::default() }), ..Sample::default() };
        assert_eq!(of(19.0, 11.0).hit_ratio(&of(10.0, 10.0)), Some(0.9));
        assert_eq!(of(10.0, 10.0).hit_ratio(&of(10.0, 10.0)), None);
        assert_eq!(Sample::default().hit_ratio(&of(1.0, 1.0)), None);
    }
}
