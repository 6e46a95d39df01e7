//! What is seen of the program under test each second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postern_tests::Result;
use postern_tests::cgroup::{Cgroup, Counter, Memory};
use postern_tests::gateway::Usage;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::order::{Count, Quantiles, Tick};
use crate::scrape::Scrape;
use crate::subject::Subject;

/// Everything at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Seconds after the start of the load.
    pub(crate) at: f64,
    /// Bytes that the kernel counts against the limit and would not give back; RSS where there is no control group.
    pub(crate) working_set: u64,
    /// The highest working set since the sample before, as far as ten looks a second have seen it.
    pub(crate) peak: u64,
    /// All bytes that the kernel counts against the limit.
    pub(crate) usage: u64,
    /// Resident set size of the process, in bytes.
    pub(crate) rss: u64,
    /// CPU seconds that the process has used since the first sample; threads that have ended since are left out.
    pub(crate) cpu: f64,
    /// Of the gateway's metrics, if it has answered.
    pub(crate) gateway: Option<Scrape>,
    /// Full handshakes since the sample before.
    pub(crate) full: Quantiles,
    /// Of these, the ones that found their certificate cached, as far as is known.
    pub(crate) hit: Quantiles,
    /// Of these, the ones whose certificate had to be loaded, as far as is known.
    pub(crate) miss: Quantiles,
    /// Resumed handshakes since the sample before.
    pub(crate) resumed: Quantiles,
    /// Failures of all kinds since the start.
    pub(crate) failures: u64,
    /// Refusals that the gateway has declared, since the start.
    pub(crate) refused: u64,
    /// Handshakes without a certificate in outages that the script has declared, since the start.
    pub(crate) in_outage: u64,
    /// Answered requests since the start.
    pub(crate) requests: u64,
    /// Connections that the load holds open.
    pub(crate) open: u64,
}

impl Sample {
    /// Takes one. An error means that the program is gone.
    pub(crate) async fn take(at: f64, watched: &mut Watched, tick: &Tick) -> Result<Self> {
        let used = watched.subject.usage()?;
        let memory = watched.memory(&used)?;
        watched.cpu += watched.used.replace(used.clone()).map_or(Duration::ZERO, |before| used.cpu_since(&before));
        Ok(Self {
            at,
            working_set: memory.working_set,
            peak: watched.peak.take().max(memory.working_set),
            usage: memory.usage,
            rss: used.rss,
            cpu: watched.cpu.as_secs_f64(),
            gateway: watched.subject.scrape().await,
            full: tick.full,
            hit: tick.hit,
            miss: tick.miss,
            resumed: tick.resumed,
            failures: 0,
            refused: 0,
            in_outage: tick.count(Count::RefusedInOutage),
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

/// The program under test and what it has used so far.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) subject: Subject,
    used: Option<Usage>,
    cpu: Duration,
    peak: Peak,
    /// Dropped last: it can be removed when the program has ended.
    cgroup: Option<Cgroup>,
}

impl Watched {
    /// From now on, in the control group that it is in, if it is in one.
    pub(crate) fn new(subject: Subject, cgroup: Option<Cgroup>) -> Self {
        let peak = Peak::of(cgroup.as_ref().map(Cgroup::counter));
        Self { subject, used: None, cpu: Duration::ZERO, peak, cgroup }
    }

    /// How many of the group's processes the kernel has killed for its memory.
    pub(crate) fn oom_kills(&self) -> Result<u64> {
        Ok(self.cgroup.as_ref().map(Cgroup::memory).transpose()?.map_or(0, |memory| memory.oom_kills))
    }

    fn memory(&self, used: &Usage) -> Result<Memory> {
        let alone = Memory { usage: used.rss, working_set: used.rss, ..Memory::default() };
        self.cgroup.as_ref().map_or(Ok(alone), Cgroup::memory)
    }
}

/// Looks at a group's working set more often than samples are taken, until dropped.
#[derive(Debug)]
struct Peak {
    highest: Arc<AtomicU64>,
    looking: Option<JoinHandle<()>>,
}

impl Peak {
    fn of(counter: Option<Counter>) -> Self {
        const BETWEEN: Duration = Duration::from_millis(100);
        let highest = Arc::new(AtomicU64::new(0));
        let looking = counter.map(|counter| {
            let highest = Arc::clone(&highest);
            tokio::spawn(async move {
                let mut ticks = interval(BETWEEN);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    // At its end, the sample says so.
                    let Ok(memory) = counter.memory() else { return };
                    highest.fetch_max(memory.working_set, Ordering::Relaxed);
                }
            })
        });
        Self { highest, looking }
    }

    /// The highest since the last call.
    fn take(&self) -> u64 {
        self.highest.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
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
