//! A cgroup for the program under test: its memory limit, its CPU quota, and the kernel's counters.
//!
//! Version 1 and version 2 (Linux, Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst and
//! scheduler/sched-bwc.rst). The working set is defined as the kubelet does: usage less inactive file pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

mod hierarchy;

use hierarchy::{Version, left_over, of_path};

/// Period of the CPU quota in microseconds; the kernel's default, and what Kubernetes sets.
const CPU_PERIOD: u64 = 100_000;

/// More bytes than any machine has, in whole pages.
const UNLIMITED: u64 = 1 << 60;

/// Limits of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Percent of one processor; `None` for no quota.
    pub cpu: Option<u32>,
}

/// A group of a process; removed when dropped, once its processes have ended.
#[derive(Debug)]
pub struct Cgroup {
    counter: Counter,
    /// The group that has the CPU quota, where that is not the one with the memory limit.
    cpu: Option<PathBuf>,
}

/// Reader of a group's counters. Does not keep the group.
#[derive(Clone, Debug)]
pub struct Counter {
    directory: PathBuf,
    version: Version,
}

/// Counters of a group at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Bytes counted against the limit.
    pub usage: u64,
    /// The same without what the kernel reclaims first.
    pub working_set: u64,
    /// Bytes in the buffers of sockets.
    pub sockets: u64,
    /// Usage with the buffers of sockets, as version 2 counts it. Version 1 counts them beside its limit.
    pub with_sockets: u64,
    /// Processes killed because the limit was reached.
    pub oom_kills: u64,
}

impl Cgroup {
    /// Creates a group with these limits, without swap. Its name is the prefix and this process's id.
    pub fn create(prefix: &str, limits: Limits) -> io::Result<Self> {
        let (parent, version) = hierarchy::memory()?;
        let directory = create_in(&parent, prefix)?;
        let mut group = Self { counter: Counter { directory, version }, cpu: None };
        group.limit_memory(limits.memory)?;
        if let Some(percent) = limits.cpu {
            group.limit_cpu(prefix, percent)?;
        }
        Ok(group)
    }

    fn limit_memory(&self, limit: u64) -> io::Result<()> {
        let set = |file: &str, value: u64| set(&self.counter.directory, file, &value.to_string());
        match self.counter.version {
            Version::V1 => {
                set("memory.limit_in_bytes", limit)?;
                // Not there if the kernel doesn't count swap; then there is nothing to be switched off.
                let _no_swap = set("memory.memsw.limit_in_bytes", limit).or_else(|_| set("memory.swappiness", 0));
                // Any value starts the counter.
                let _not_counted = set("memory.kmem.tcp.limit_in_bytes", UNLIMITED);
            }
            Version::V2 => {
                set("memory.max", limit)?;
                let _no_swap = set("memory.swap.max", 0);
            }
        }
        Ok(())
    }

    fn limit_cpu(&mut self, prefix: &str, percent: u32) -> io::Result<()> {
        let quota = CPU_PERIOD * u64::from(percent) / 100;
        match self.counter.version {
            Version::V1 => {
                let directory = self.cpu.insert(create_in(&hierarchy::cpu_v1()?, prefix)?);
                set(directory, "cpu.cfs_period_us", &CPU_PERIOD.to_string())?;
                set(directory, "cpu.cfs_quota_us", &quota.to_string())
            }
            Version::V2 => {
                hierarchy::enable_cpu_v2()?;
                set(&self.counter.directory, "cpu.max", &format!("{quota} {CPU_PERIOD}"))
            }
        }
    }

    /// Directories that a process must be written into, memory first.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.counter.directory.as_path()).chain(self.cpu.as_deref())
    }

    /// A reader that works as long as the group exists.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// The counters now.
    pub fn memory(&self) -> Result<Memory> {
        self.counter.memory()
    }

    /// The highest usage since the group was created; `None` where the kernel does not keep it (version 2 before 5.19).
    pub fn peak(&self) -> Option<u64> {
        let file = match self.counter.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        self.counter.read(file).ok()?.trim().parse().ok()
    }
}

impl Counter {
    /// The counters now.
    pub fn memory(&self) -> Result<Memory> {
        let (usage, inactive, events) = match self.version {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"),
            Version::V2 => ("memory.current", "inactive_file", "memory.events"),
        };
        let usage: u64 = self.read(usage)?.trim().parse()?;
        let stat = self.read("memory.stat")?;
        let sockets = match self.version {
            Version::V1 => self.read("memory.kmem.tcp.usage_in_bytes").ok().and_then(|text| text.trim().parse().ok()),
            Version::V2 => value(&stat, "sock").ok(),
        };
        let sockets = sockets.unwrap_or_default();
        let beside = if self.version == Version::V1 { sockets } else { 0 };
        Ok(Memory {
            usage,
            working_set: usage.saturating_sub(value(&stat, inactive)?),
            sockets,
            with_sockets: usage + beside,
            oom_kills: value(&self.read(events)?, "oom_kill")?,
        })
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(file))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.directories() {
            remove(directory);
        }
    }
}

/// Removes a group; that is possible once its processes are gone, and killed ones take a moment.
#[expect(clippy::disallowed_methods, reason = "nothing runs any more that could be held up")]
fn remove(directory: &Path) {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
    eprintln!("the control group {} could not be removed; it is still in use", directory.display());
}

/// Creates a group below this one, and removes those of runs that were killed.
fn create_in(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    for directory in left_over(parent, prefix) {
        // A program that a killed run has started may still be running; then it stays.
        let _in_use = fs::remove_dir(directory);
    }
    let directory = parent.join(format!("{prefix}{}", std::process::id()));
    fs::create_dir(&directory).map_err(of_path(&directory))?;
    Ok(directory)
}

fn set(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    fs::write(&path, value).map_err(of_path(&path))
}

/// The number after this word in a file with a word and a number a line.
fn value(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    Ok(line.ok_or_else(|| format!("no {word} in {text:?}"))?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_begins_another_is_not_taken_for_it() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(value(text, "oom_kill").unwrap(), 3);
        assert!(value(text, "cache").is_err());
    }

    #[test]
    fn a_group_that_could_be_created_counts_and_is_gone_when_dropped() {
        let Ok(group) = Cgroup::create("postern-test-", Limits { memory: 64 << 20, cpu: Some(20) }) else {
            eprintln!("SKIPPED: no permission to create a control group");
            return;
        };
        assert_eq!(group.memory().unwrap().oom_kills, 0);
        let directories: Vec<_> = group.directories().map(Path::to_owned).collect();
        let has_quota = |directory: &PathBuf| {
            let read = |file| fs::read_to_string(directory.join(file)).unwrap_or_default();
            read("cpu.cfs_quota_us").trim() == "20000" || read("cpu.max").trim() == "20000 100000"
        };
        assert!(directories.iter().any(has_quota));
        drop(group);
        assert!(directories.iter().all(|directory| !directory.exists()));
    }
}
