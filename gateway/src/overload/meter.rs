//! The meter: how much of the limit is used, now.

use std::fs::File;
use std::path::Path;

use super::MemoryLimit;
use super::cgroup::{Cgroups, Reading, read_at_start};

/// Where a process reads about itself.
pub(super) const SELF: &str = "/proc/self";

/// Reads what counts against a limit. Files stay open, and a reading allocates nothing.
#[derive(Debug)]
pub(super) struct Meter {
    cgroups: Option<Cgroups>,
    flag: Option<u64>,
    resident: Option<Resident>,
}

impl Meter {
    /// Finds out what limits the process.
    pub(super) fn open(setting: MemoryLimit, process: &Path) -> Self {
        let cgroups = if setting == MemoryLimit::Off { None } else { Cgroups::find(process) };
        let flag = if let MemoryLimit::Size(size) = setting { Some(size.as_u64()) } else { None };
        Self { cgroups, flag, resident: Resident::open(process) }
    }

    /// The least limit.
    pub(super) fn limit(&self) -> Option<u64> {
        self.cgroups.as_ref().map(Cgroups::least_limit).into_iter().chain(self.flag).min()
    }

    /// Reads all there is to read and returns what is closest to its limit. A limit that is set as a flag is compared with
    /// the process's own RSS, as a cgroup may hold others too.
    pub(super) fn read(&mut self) -> Option<Reading> {
        let cgroup = self.cgroups.as_mut().and_then(Cgroups::read);
        let flag = self.flag.and_then(|limit| Some(Reading { limit, working_set: self.resident()?.all }));
        Reading::closest(cgroup.into_iter().chain(flag))
    }

    /// The process's own memory.
    pub(super) fn resident(&mut self) -> Option<Rss> {
        self.resident.as_mut()?.read()
    }
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rss {
    pub(super) all: u64,
    /// Without what is of files: heap and stacks.
    pub(super) anonymous: u64,
}

#[derive(Debug)]
struct Resident {
    statm: File,
    buffer: [u8; 256],
}

impl Resident {
    fn open(process: &Path) -> Option<Self> {
        Some(Self { statm: File::open(process.join("statm")).ok()?, buffer: [0; 256] })
    }

    /// `SIZE RESIDENT SHARED ...` in pages (proc(5)).
    fn read(&mut self) -> Option<Rss> {
        let text = read_at_start(&self.statm, &mut self.buffer).ok()?;
        let mut pages = text.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
        let (all, shared) = (pages.next()?, pages.next()?);
        let page = rustix::param::page_size() as u64;
        Some(Rss { all: all * page, anonymous: all.saturating_sub(shared) * page })
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    fn size(bytes: u64) -> MemoryLimit {
        MemoryLimit::Size(ByteSize::b(bytes))
    }

    /// A process with 2 pages in a cgroup that is in a directory of its own.
    fn process(limit: &str, current: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
        write("cgroup", "0::/\n".to_owned());
        write("mountinfo", format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", folder.path().display()));
        write("memory.max", limit.to_owned());
        write("memory.current", current.to_string());
        write("memory.stat", "inactive_file 0\n".to_owned());
        write("statm", "900 3 1 1 0 9 0\n".to_owned());
        folder
    }

    fn rss() -> u64 {
        3 * rustix::param::page_size() as u64
    }

    #[test]
    fn the_limit_that_is_closest_counts() {
        let process = process("100000", 50_000);
        let read = |setting| {
            let mut meter = Meter::open(setting, process.path());
            (meter.limit(), meter.read().map(|reading| reading.working_set))
        };
        assert_eq!(read(MemoryLimit::Auto), (Some(100_000), Some(50_000)));
        assert_eq!(read(MemoryLimit::Off), (None, None));
        assert_eq!(read(size(rss() + 1)), (Some(rss() + 1), Some(rss())));
        assert_eq!(read(size(1 << 30)), (Some(100_000), Some(50_000)));
    }

    #[test]
    fn without_a_limit_of_a_cgroup_the_own_memory_counts_against_the_flag() {
        let process = process("max", 50_000);
        assert_eq!(Meter::open(MemoryLimit::Auto, process.path()).read(), None);
        let mut meter = Meter::open(size(2 * rss()), process.path());
        let reading = meter.read().unwrap();
        assert_eq!((reading.working_set, reading.percent()), (rss(), 50.0));
        assert_eq!(meter.resident().map(|rss| rss.anonymous), Some(2 * rustix::param::page_size() as u64));
    }

    #[test]
    fn this_process_has_memory() {
        let rss = Meter::open(MemoryLimit::Auto, Path::new(SELF)).resident().unwrap();
        assert!(rss.anonymous > 100_000 && rss.all >= rss.anonymous, "{rss:?}");
    }
}
