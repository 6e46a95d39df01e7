//! Symbolic links to files: the folders that they lead into are watched too.
//!
//! A volume of Kubernetes is made of such links (`tls.yaml` → `..data/tls.yaml`, `..data` → `..2026_x`). An event in a
//! folder that links lead into counts as one in the folder that has the links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::file;
use super::worker::Worker;

/// A folder that links lead into.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The folders that have the links.
    pub(super) from: BTreeSet<PathBuf>,
    /// Watched for the sake of the links.
    watched: bool,
}

impl Worker {
    /// Watches the folders that the links in `path` lead into, and forgets those that they led into before.
    pub(super) fn follow_links(&mut self, path: &Path, targets: &BTreeSet<PathBuf>) {
        let before = self.links.iter().filter(|(target, link)| link.from.contains(path) && !targets.contains(*target));
        let over: Vec<PathBuf> = before.map(|(target, _)| target.clone()).collect();
        for target in over {
            self.leave_target(path, &target);
        }
        for target in targets {
            self.enter_target(path, target);
        }
    }

    fn enter_target(&mut self, path: &Path, target: &Path) {
        let is_read = self.known_path(target).is_some();
        let link = self.links.entry(target.to_owned()).or_default();
        link.from.insert(path.to_owned());
        if is_read || link.watched {
            return;
        }
        match self.watcher.watch(target) {
            Ok(()) => link.watched = true,
            Err(error) => {
                tracing::warn!(path = %target.display(), error = error.reason(), "changes behind links are seen late");
                self.retry.insert(path.to_owned());
            }
        }
    }

    fn leave_target(&mut self, path: &Path, target: &Path) {
        let Some(link) = self.links.get_mut(target) else { return };
        link.from.remove(path);
        if !link.from.is_empty() {
            return;
        }
        if self.links.remove(target).is_some_and(|link| link.watched) {
            self.watcher.unwatch(target);
            // The kernel has one watch for a folder, whatever paths lead to it.
            if let Some(known) = self.known_path(target)
                && self.watcher.watch(&known).is_err()
            {
                self.retry.insert(known);
            }
        }
    }

    /// The path under which a folder is read, if it is.
    fn known_path(&self, target: &Path) -> Option<PathBuf> {
        let identity = file::identity(&std::fs::metadata(target).ok()?);
        self.read_index().same_dir(identity).map(|(_, path)| path.to_path_buf())
    }
}
