//! A memory cgroup for the program under test.
//!
//! Version 1 and version 2 (Linux, Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst). The working set is
//! what the kubelet takes it for: usage less inactive file pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_tests::Result;

/// Where the kernel's control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What groups of this program are called, followed by its process id.
const PREFIX: &str = "postern-soak-";

/// A group with a memory limit; it is removed when dropped, once its processes have ended.
#[derive(Debug)]
pub(crate) struct Cgroup(Counter);

/// Reads what the kernel counts for a group. Does not keep it.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What the kernel counts for a group at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All that is counted against the limit.
    pub(crate) usage: u64,
    /// Without what is given back when somebody needs it.
    pub(crate) working_set: u64,
    /// Processes that were killed because the limit was reached.
    pub(crate) oom_kills: u64,
}

impl Cgroup {
    /// Makes a group with this limit in bytes, without swap.
    pub(crate) fn create(limit: u64) -> io::Result<Self> {
        let (parent, version) = hierarchy()?;
        remove_left_over(&parent);
        let directory = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&directory).map_err(of_path(&directory))?;
        let group = Self(Counter { directory, version });
        match version {
            Version::V1 => {
                group.set("memory.limit_in_bytes", limit)?;
                // Not there if the kernel doesn't count swap; then there is nothing to be switched off.
                let _no_swap =
                    group.set("memory.memsw.limit_in_bytes", limit).or_else(|_| group.set("memory.swappiness", 0));
            }
            Version::V2 => {
                group.set("memory.max", limit)?;
                let _no_swap = group.set("memory.swap.max", 0);
            }
        }
        Ok(group)
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Counts as long as the group is there.
    pub(crate) fn counter(&self) -> Counter {
        self.0.clone()
    }

    /// What the kernel counts now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        self.0.memory()
    }

    fn set(&self, file: &str, value: u64) -> io::Result<()> {
        let path = self.0.directory.join(file);
        fs::write(&path, value.to_string()).map_err(of_path(&path))
    }
}

impl Counter {
    /// What the kernel counts now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let (usage, inactive, events) = match self.version {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"),
            Version::V2 => ("memory.current", "inactive_file", "memory.events"),
        };
        let usage = self.read(usage)?.trim().parse()?;
        let inactive = value(&self.read("memory.stat")?, inactive)?;
        let oom_kills = value(&self.read(events)?, "oom_kill")?;
        Ok(Memory { usage, working_set: usage.saturating_sub(inactive), oom_kills })
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(file))
    }
}

impl Drop for Cgroup {
    /// A group can be removed once its processes are gone; killed ones take a moment.
    #[expect(clippy::disallowed_methods, reason = "nothing runs any more that could be held up")]
    fn drop(&mut self) {
        const ATTEMPTS: u32 = 100;
        for _ in 0..ATTEMPTS {
            match fs::remove_dir(self.directory()) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
        eprintln!("the control group {} could not be removed; it is still in use", self.directory().display());
    }
}

/// The directory in which groups with a memory limit can be made.
fn hierarchy() -> io::Result<(PathBuf, Version)> {
    let root = Path::new(MOUNT);
    let v1 = root.join("memory");
    if v1.join("memory.limit_in_bytes").exists() || v1.join("memory.usage_in_bytes").exists() {
        return Ok((v1, Version::V1));
    }
    let controllers = root.join("cgroup.controllers");
    let controllers = fs::read_to_string(&controllers).map_err(of_path(&controllers))?;
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        return Err(io::Error::other(format!("{MOUNT} has no memory controller")));
    }
    let control = root.join("cgroup.subtree_control");
    fs::write(&control, "+memory").map_err(of_path(&control))?;
    Ok((root.to_owned(), Version::V2))
}

/// The error with the file that it is about.
fn of_path(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes groups of runs that were killed.
fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // What was started by a killed run may still be running; then it stays.
            let _in_use = fs::remove_dir(entry.path());
        }
    }
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
    fn a_group_that_could_be_made_counts_and_is_gone_when_dropped() {
        let Ok(group) = Cgroup::create(64 << 20) else {
            eprintln!("SKIPPED: no permission to make a memory control group");
            return;
        };
        assert_eq!(group.memory().unwrap().oom_kills, 0);
        let directory = group.directory().to_owned();
        drop(group);
        assert!(!directory.exists());
    }
}
