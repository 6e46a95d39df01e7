//! The cgroup that limits this process: where it is, how much it allows, and what the kernel counts against it.
//!
//! Version 2 and version 1 (`Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst` of Linux), found by
//! `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc(5)).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Version 1 says "no limit" with the largest number of whole pages; pages are of 4 KiB or 64 KiB.
const UNLIMITED: u64 = 1 << 62;

/// More than any `memory.stat` has, which is about 2 KiB.
const STAT: usize = 16 * 1024;

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// In bytes.
    pub(super) limit: u64,
    /// What counts against it, in bytes.
    pub(super) working_set: u64,
}

impl Reading {
    /// How much of the limit is used, in percent.
    pub(super) fn percent(self) -> f64 {
        100.0 * self.working_set as f64 / self.limit.max(1) as f64
    }

    /// Of several, the one that is closest to its limit.
    pub(super) fn closest(readings: impl IntoIterator<Item = Self>) -> Option<Self> {
        readings.into_iter().max_by(|one, other| one.percent().total_cmp(&other.percent()))
    }
}

/// All cgroups with a memory limit that this process is in or below; at least one. Any of them can be the first to be
/// full: one above holds neighbours too.
#[derive(Debug)]
pub(super) struct Cgroups {
    limited: Vec<Limited>,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Limited {
    /// In bytes.
    limit: u64,
    usage: File,
    stat: File,
    inactive: &'static str,
}

/// The files of a version.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// The least of them counts. Above `memory.high` the kernel does not kill, but makes each allocation wait until it has
    /// taken memory back, which stops a process as well.
    limits: &'static [&'static str],
    usage: &'static str,
    /// The line of `memory.stat` with the page cache that is given up first.
    inactive: &'static str,
}

const V1: Version =
    Version { limits: &["memory.limit_in_bytes"], usage: "memory.usage_in_bytes", inactive: "total_inactive_file " };
const V2: Version =
    Version { limits: &["memory.max", "memory.high"], usage: "memory.current", inactive: "inactive_file " };

impl Cgroups {
    /// Finds them by the files of a directory such as `/proc/self`; `None` if nothing limits the process.
    pub(super) fn find(process: &Path) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(process.join(file)).ok();
        let place = Place::of(&read("cgroup")?, &read("mountinfo")?)?;
        let limited: Vec<_> = place.limits().into_iter().filter_map(|(limit, at)| place.open(limit, &at)).collect();
        (!limited.is_empty()).then(|| Self { limited, buffer: vec![0; STAT].into() })
    }

    /// The least limit, in bytes.
    pub(super) fn least_limit(&self) -> u64 {
        self.limited.iter().map(|limited| limited.limit).min().unwrap_or(u64::MAX)
    }

    /// Reads them all and returns the one that is closest to its limit. Allocates nothing.
    pub(super) fn read(&mut self) -> Option<Reading> {
        let Self { limited, buffer } = self;
        Reading::closest(limited.iter().filter_map(|limited| limited.read(buffer).ok()))
    }
}

impl Limited {
    /// What counts against the limit is as the kubelet computes it: usage without the page cache that the kernel gives up
    /// first.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Reading> {
        let usage = number(read_at_start(&self.usage, buffer)?)?;
        let stat = read_at_start(&self.stat, buffer)?;
        let inactive = stat.lines().find_map(|line| line.strip_prefix(self.inactive));
        let working_set = usage.saturating_sub(number(inactive.unwrap_or("0"))?);
        Ok(Reading { limit: self.limit, working_set })
    }
}

/// Where the process stands in the hierarchy of memory cgroups.
#[derive(Debug)]
struct Place {
    version: Version,
    /// The directory of its own cgroup, as far as it can be seen.
    own: PathBuf,
    /// The uppermost directory that can be seen.
    top: PathBuf,
}

impl Place {
    fn of(cgroup: &str, mountinfo: &str) -> Option<Self> {
        let mut memory = None;
        let mut unified = None;
        for line in cgroup.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if controllers.split(',').any(|controller| controller == "memory") {
                memory = Some(path);
            } else if id == "0" && controllers.is_empty() {
                unified = Some(path);
            }
        }
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let find = |path: Option<&str>, version: Version| {
            let mount = mounts.iter().find(|mount| mount.has_memory_of(&version))?;
            Some(Self { version, own: mount.directory_of(path?), top: mount.point.clone() })
        };
        find(memory, V1).or_else(|| find(unified, V2))
    }

    /// The limits of the own cgroup and those above it, and whose they are.
    fn limits(&self) -> Vec<(u64, PathBuf)> {
        let above = self.own.ancestors().take_while(|directory| directory.starts_with(&self.top));
        let visible = above.filter_map(|directory| Some((self.limit_of(directory)?, directory.to_owned())));
        visible.chain(self.hidden_limit()).collect()
    }

    fn limit_of(&self, directory: &Path) -> Option<u64> {
        let limits = self.version.limits.iter().filter_map(|file| {
            let text = fs::read_to_string(directory.join(file)).ok()?;
            // Version 2 says "no limit" with the word `max`.
            number(&text).ok().filter(|limit| *limit < UNLIMITED)
        });
        limits.min()
    }

    /// Version 1 shows a limit that is set above what is mounted.
    fn hidden_limit(&self) -> Option<(u64, PathBuf)> {
        let stat = fs::read_to_string(self.own.join("memory.stat")).ok()?;
        let limit = stat.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?;
        let limit = number(limit).ok().filter(|limit| *limit < UNLIMITED)?;
        Some((limit, self.own.clone()))
    }

    fn open(&self, limit: u64, directory: &Path) -> Option<Limited> {
        let open = |file: &str| File::open(directory.join(file)).ok();
        let (usage, stat) = (open(self.version.usage)?, open("memory.stat")?);
        Some(Limited { limit, usage, stat, inactive: self.version.inactive })
    }
}

/// A mounted cgroup hierarchy.
#[derive(Debug)]
struct Mount {
    /// The part of the hierarchy that is mounted.
    root: PathBuf,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    /// A line of mountinfo: `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS`.
    fn parse(line: &str) -> Option<Self> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (unescape(place.next()?), unescape(place.next()?));
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?.to_owned();
        let options = file_system.nth(1).unwrap_or_default().to_owned();
        kind.starts_with("cgroup").then_some(Self { root, point, kind, options })
    }

    fn has_memory_of(&self, version: &Version) -> bool {
        match &*self.kind {
            "cgroup2" => *version == V2,
            _ => *version == V1 && self.options.split(',').any(|option| option == "memory"),
        }
    }

    /// Where a cgroup is found. A container may see its cgroup's path as its host does, or from a namespace of its own,
    /// while its own cgroup is what is mounted.
    fn directory_of(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let below = path.strip_prefix(&self.root).ok();
        below
            .filter(|below| !below.components().any(|part| part == std::path::Component::ParentDir))
            .map(|below| self.point.join(below))
            .filter(|directory| directory.is_dir())
            .unwrap_or_else(|| self.point.clone())
    }
}

/// Mountinfo writes blanks and backslashes as three octal digits after a backslash (proc(5)).
fn unescape(text: &str) -> PathBuf {
    let mut path = text.to_owned();
    for (escape, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        path = path.replace(escape, character);
    }
    path.into()
}

/// Reads a small file of `/proc` or a cgroup anew.
pub(super) fn read_at_start<'a>(file: &File, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    std::str::from_utf8(&buffer[..length]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A number on a line of its own.
pub(super) fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A file tree that looks as if it had a process and its cgroups.
    struct Tree(TempDir);

    impl Tree {
        /// `cgroup` is what the process says of itself; each mount is root, mount point below the tree, type, options.
        fn new(cgroup: &str, mounts: &[(&str, &str, &str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            let line = |(root, point, kind, options): &(&str, &str, &str, &str)| {
                let point = tree.0.path().join(point);
                format!("31 23 0:28 {root} {} rw,relatime shared:9 - {kind} cgroup {options}\n", point.display())
            };
            let mountinfo: String = mounts.iter().map(line).collect();
            tree.write("cgroup", cgroup)
                .write("mountinfo", &format!("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mountinfo}"))
        }

        fn write(self, file: &str, text: &str) -> Self {
            let path = self.0.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        /// A cgroup of version 2.
        fn v2(self, directory: &str, max: &str, current: u64, inactive: u64) -> Self {
            self.write(&format!("{directory}/memory.max"), &format!("{max}\n"))
                .write(&format!("{directory}/memory.current"), &format!("{current}\n"))
                .write(&format!("{directory}/memory.stat"), &format!("anon 5\ninactive_file {inactive}\nfile 9\n"))
        }

        /// A cgroup of version 1.
        fn v1(self, directory: &str, limit: u64, usage: u64, inactive: u64, hierarchical: u64) -> Self {
            let stat =
                format!("inactive_file 1\nhierarchical_memory_limit {hierarchical}\ntotal_inactive_file {inactive}\n");
            self.write(&format!("{directory}/memory.limit_in_bytes"), &format!("{limit}\n"))
                .write(&format!("{directory}/memory.usage_in_bytes"), &format!("{usage}\n"))
                .write(&format!("{directory}/memory.stat"), &stat)
        }

        /// Limit and working set of what is closest to its limit.
        fn found(&self) -> Option<(u64, u64)> {
            let Reading { limit, working_set } = Cgroups::find(self.0.path())?.read().unwrap();
            Some((limit, working_set))
        }
    }

    const NONE: u64 = 9_223_372_036_854_771_712;

    #[test]
    fn neighbours_in_a_cgroup_above_can_fill_it_first() {
        let tree = Tree::new("0::/slice/service\n", &[("/", "cg", "cgroup2", "rw")])
            .v2("cg/slice/service", "512", 250, 0)
            .v2("cg/slice", "600", 590, 0);
        assert_eq!(tree.found(), Some((600, 590)));
        assert_eq!(Cgroups::find(tree.0.path()).unwrap().least_limit(), 512);
        assert_eq!(tree.v2("cg/slice", "600", 260, 0).found(), Some((512, 250)));
    }

    #[test]
    fn above_memory_high_the_kernel_throttles_so_that_it_is_a_limit() {
        let tree = |high| {
            Tree::new("0::/app\n", &[("/", "cg", "cgroup2", "rw")])
                .v2("cg/app", "1000", 300, 0)
                .write("cg/app/memory.high", high)
        };
        assert_eq!(tree("400\n").found(), Some((400, 300)));
        assert_eq!(tree("max\n").found(), Some((1_000, 300)));
        assert_eq!(tree("400\n").v2("cg/app", "max", 300, 0).found(), Some((400, 300)));
    }

    #[test]
    fn the_limit_above_the_process_counts_with_the_working_set_of_its_cgroup() {
        let tree = || {
            Tree::new("0::/pod/app\n", &[("/", "cg", "cgroup2", "rw")])
                .v2("cg/pod/app", "max", 700, 100)
                .v2("cg/pod", "5000", 2_000, 500)
        };
        assert_eq!(tree().found(), Some((5_000, 1_500)));
        assert_eq!(tree().v2("cg/pod/app", "1000", 700, 100).found(), Some((1_000, 600)));
        assert_eq!(tree().v2("cg/pod", "max", 1, 0).found(), None);
    }

    #[test]
    fn version_1_has_a_number_that_means_no_limit_and_shows_limits_of_parents_that_cannot_be_seen() {
        let tree = |limit, hierarchical| {
            Tree::new(
                "5:cpu:/x\n4:cpuset,memory:/pod/app\n0::/\n",
                &[
                    ("/", "unified", "cgroup2", "rw"),
                    ("/", "cpu", "cgroup", "rw,cpu"),
                    ("/pod/app", "memory", "cgroup", "rw,cpuset,memory"),
                ],
            )
            .v1("memory", limit, 700, 200, hierarchical)
        };
        assert_eq!(tree(NONE, NONE).found(), None);
        assert_eq!(tree(1_000, 1_000).found(), Some((1_000, 500)));
        assert_eq!(tree(NONE, 900).found(), Some((900, 500)));
    }

    #[test]
    fn in_a_container_the_mounted_cgroup_is_the_own_one_however_its_path_reads() {
        for path in ["/../../kubepods/pod1/app", "/kubepods/pod1/app", "/not/here", "/"] {
            let tree = Tree::new(&format!("0::{path}\n"), &[("/", "cg", "cgroup2", "rw")]).v2("cg", "1000", 30, 10);
            assert_eq!(tree.found(), Some((1_000, 20)), "{path}");
        }
    }

    #[test]
    fn inactive_page_cache_beyond_the_usage_is_no_working_set_below_zero() {
        let tree = Tree::new("0::/\n", &[("/", "with\\040blank", "cgroup2", "rw")]);
        assert_eq!(tree.v2("with blank", "1000", 10, 30).found(), Some((1_000, 0)));
    }

    #[test]
    fn without_a_memory_controller_nothing_limits() {
        assert!(Cgroups::find(Path::new("/nowhere")).is_none());
        assert_eq!(Tree::new("0::/a\n", &[("/", "cg", "cgroup2", "rw")]).found(), None);
        assert_eq!(Tree::new("4:memory:/a\n", &[]).found(), None);
    }

    #[test]
    fn what_is_used_is_read_anew_each_time() {
        let tree = Tree::new("0::/\n", &[("/", "cg", "cgroup2", "rw")]).v2("cg", "1000", 10_000, 0);
        let mut cgroups = Cgroups::find(tree.0.path()).unwrap();
        let mut working_set = || cgroups.read().map(|reading| reading.working_set);
        assert_eq!(working_set(), Some(10_000));
        let _tree = tree.v2("cg", "1000", 7, 3);
        assert_eq!(working_set(), Some(4));
    }
}
