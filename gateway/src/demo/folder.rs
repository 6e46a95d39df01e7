//! The demonstration's temporary directory. One that was left behind, by a demonstration that was killed, is removed.

use std::path::Path;
use std::{fs, io};

use tempfile::TempDir;

const PREFIX: &str = "postern-demo-";

/// Makes a directory that is removed when dropped.
pub(super) fn make() -> io::Result<TempDir> {
    let parent = std::env::temp_dir();
    sweep(&parent);
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(parent)
}

/// Removes the directories of processes that are gone.
fn sweep(parent: &Path) {
    let processes = Path::new("/proc");
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|_| processes.join("self").exists()) {
        let owner = entry.file_name().to_str().and_then(owner);
        if owner.is_some_and(|owner| !processes.join(owner.to_string()).exists()) {
            // It may be somebody else's, and then it stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process that a directory of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_have_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let mut process = std::process::Command::new("true").spawn().unwrap();
        process.wait().unwrap();
        let left = format!("{PREFIX}{}-abc", process.id());
        let kept = [format!("{PREFIX}{}-abc", std::process::id()), format!("{PREFIX}abc"), "other".to_owned()];
        for name in kept.iter().chain([&left]) {
            fs::create_dir_all(parent.path().join(name).join("secrets")).unwrap();
        }
        sweep(parent.path());
        assert!(!parent.path().join(left).exists());
        assert!(kept.iter().all(|name| parent.path().join(name).exists()));
    }
}
