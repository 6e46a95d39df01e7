//! The places where cgroups can be created.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Mount point of the kernel's control groups.
const MOUNT: &str = "/sys/fs/cgroup";

/// Version of the control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The directory in which groups with a memory limit can be created.
pub(super) fn memory() -> io::Result<(PathBuf, Version)> {
    let v1 = Path::new(MOUNT).join("memory");
    if v1.join("memory.limit_in_bytes").exists() || v1.join("memory.usage_in_bytes").exists() {
        return Ok((v1, Version::V1));
    }
    enable_v2("memory")?;
    Ok((PathBuf::from(MOUNT), Version::V2))
}

/// The directory in which groups with a CPU quota can be created where [`memory`] found version 1.
pub(super) fn cpu_v1() -> io::Result<PathBuf> {
    let candidates = ["cpu", "cpu,cpuacct"].map(|name| Path::new(MOUNT).join(name));
    let found = candidates.into_iter().find(|directory| directory.join("cgroup.procs").exists());
    found.ok_or_else(|| io::Error::other(format!("{MOUNT} has no cpu controller")))
}

/// Lets groups of version 2 have a CPU quota.
pub(super) fn enable_cpu_v2() -> io::Result<()> {
    enable_v2("cpu")
}

fn enable_v2(controller: &str) -> io::Result<()> {
    let root = Path::new(MOUNT);
    let controllers = root.join("cgroup.controllers");
    let controllers = fs::read_to_string(&controllers).map_err(of_path(&controllers))?;
    if !controllers.split_whitespace().any(|word| word == controller) {
        return Err(io::Error::other(format!("{MOUNT} has no {controller} controller")));
    }
    let control = root.join("cgroup.subtree_control");
    fs::write(&control, format!("+{controller}")).map_err(of_path(&control))
}

/// Groups with this prefix whose process has ended.
pub(super) fn left_over(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let of_ended =
        |name: &str| name.strip_prefix(prefix).is_some_and(|process| !Path::new("/proc").join(process).exists());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(of_ended)).map(|entry| entry.path()).collect()
}

/// Adds the file to an error.
pub(super) fn of_path(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
