//! What a process uses, as the kernel counts it (proc(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;

use crate::Result;

/// Memory and CPU time of a process, at one moment.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Resident set size in bytes.
    pub rss: u64,
    /// The part of it that is of no file: heap and stacks.
    pub anonymous: u64,
    /// The highest resident set size so far, in bytes.
    pub peak_rss: u64,
    /// User and system time of all threads since the start, ended ones included. The kernel shows it in ticks of 10 ms.
    pub cpu: Duration,
    /// Time on a CPU of each living thread, to the nanosecond.
    threads: BTreeMap<OsString, u64>,
}

impl Usage {
    /// What the process uses now.
    pub fn of(pid: Pid) -> Result<Self> {
        let directory = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let read = |file: &str| fs::read_to_string(directory.join(file));
        let status = read("status")?;
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(directory.join("task"))? {
            let thread = thread?;
            // A thread may end between listing and reading.
            let Ok(schedstat) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let on_cpu = schedstat.split(' ').next().unwrap_or_default();
            threads.insert(thread.file_name(), on_cpu.trim().parse()?);
        }
        Ok(Self {
            rss: size(&status, "VmRSS:")?,
            anonymous: size(&status, "RssAnon:")?,
            peak_rss: size(&status, "VmHWM:")?,
            cpu: cpu_time(&read("stat")?)?,
            threads,
        })
    }

    /// CPU time since an earlier moment: that of living threads, to the nanosecond. What a thread used that has ended in
    /// between is missing.
    pub fn cpu_since(&self, earlier: &Self) -> Duration {
        let used =
            |(thread, now): (&OsString, &u64)| now.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0));
        Duration::from_nanos(self.threads.iter().map(used).sum())
    }
}

fn size(status: &str, field: &str) -> Result<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let value = value.ok_or_else(|| format!("status has no {field}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

/// Fields 14 and 15, counted after the command, which may itself contain spaces and brackets.
fn cpu_time(stat: &str) -> Result<Duration> {
    let after_command = stat.rsplit_once(") ").ok_or("stat has no command")?.1;
    let fields: Vec<&str> = after_command.split_whitespace().collect();
    let [user, system] = fields.get(11..13).ok_or("stat is too short")? else { return Err("stat is too short".into()) };
    let ticks = user.parse::<u64>()? + system.parse::<u64>()?;
    Ok(Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_command_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_time(stat).unwrap().as_millis(), u128::from(200_000 / ticks));
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let before = Usage::of(rustix::process::getpid()).unwrap();
        assert!(before.rss > 100_000 && before.peak_rss >= before.rss / 2);
        let mut sum = 0_u64;
        while Usage::of(rustix::process::getpid()).unwrap().cpu_since(&before).is_zero() {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
