//! Processors that the processes of a trial take, and those that all others take.

use std::fs;
use std::time::Instant;

use postern_tests::Result;
use postern_tests::gateway::Usage;
use rustix::process::Pid;
use serde::Serialize;

/// Processors, on average over a time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Processors {
    pub(super) gateway: f64,
    pub(super) attacker: f64,
    pub(super) backends: f64,
    /// Processes that are not of this benchmark; many of them make a figure worthless.
    pub(super) others: f64,
}

/// CPU seconds at one moment.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    all: f64,
    this: f64,
    gateway: f64,
    backends: f64,
}

/// The processes of a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pids {
    pub(super) gateway: Pid,
    pub(super) backends: Option<Pid>,
}

impl Meter {
    pub(super) fn start(pids: Pids) -> Result<Self> {
        Ok(Self {
            began: Instant::now(),
            all: all()?,
            this: of(rustix::process::getpid())?,
            gateway: of(pids.gateway)?,
            backends: pids.backends.map_or(Ok(0.0), of)?,
        })
    }

    /// Averages since the start; an error if one of the processes has ended. The attacker was started after the meter.
    pub(super) fn read(&self, pids: Pids, attacker: Option<Pid>) -> Result<Processors> {
        let seconds = self.began.elapsed().as_secs_f64();
        let now = Self::start(pids)?;
        let [gateway, backends] = [now.gateway - self.gateway, now.backends - self.backends];
        let attacker = attacker.map_or(Ok(0.0), of)?;
        let others = now.all - self.all - (now.this - self.this) - gateway - backends - attacker;
        Ok(Processors {
            gateway: gateway / seconds,
            attacker: attacker / seconds,
            backends: backends / seconds,
            others: others.max(0.0) / seconds,
        })
    }
}

fn of(pid: Pid) -> Result<f64> {
    Ok(Usage::of(pid)?.cpu.as_secs_f64())
}

/// CPU seconds of all processes since the machine's start (proc(5), `/proc/stat`).
fn all() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("/proc/stat is empty")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
    // user, nice, system; then idle and iowait; irq and softirq. Guests are in user, what is stolen is nobody's here.
    let busy: u64 = [0, 1, 2, 5, 6].into_iter().filter_map(|field| ticks.get(field)).sum();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_have_used_more_than_this_one() {
        assert!(all().unwrap() >= of(rustix::process::getpid()).unwrap());
    }
}
