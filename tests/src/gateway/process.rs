//! What a process uses, as the kernel counts it (proc(5)).

use std::time::Duration;

use rustix::process::Pid;

use crate::Result;

/// Memory and CPU time of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident set size in bytes.
    pub rss: u64,
    /// User and system time of all threads since the start, ended ones included. The kernel shows it in ticks of 10 ms.
    pub cpu: Duration,
}

impl Usage {
    /// What the process uses now.
    pub(super) fn of(pid: Pid) -> Result<Self> {
        let pid = pid.as_raw_nonzero();
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self { rss: resident(&statm)?, cpu: cpu_time(&stat)? })
    }
}

fn resident(statm: &str) -> Result<u64> {
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
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
    fn this_process_has_memory() {
        assert!(Usage::of(rustix::process::getpid()).unwrap().rss > 100_000);
    }
}
