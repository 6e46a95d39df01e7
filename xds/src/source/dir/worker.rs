//! The thread that owns the state of a directory source: it reads, follows changes and says what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Options;
use super::changes::Touched;
use super::claims::{Claims, Outcome};
use super::file;
use super::index::{FileId, Index};
use super::links::Link;
use super::metrics::{self, Counters};
use super::namespaces::Namespaces;
use super::report::Reports;
use super::watch::{Wake, Watcher};
use crate::object::ObjectEvent;

/// So many events are handed over at a time.
const BATCH: usize = 256;

/// What could not be read or watched is tried again so often.
const RETRY: Duration = Duration::from_secs(10);

/// A root that is gone is looked for so often.
const RETRY_ROOT: Duration = Duration::from_secs(1);

/// Reads a directory and follows it.
pub(super) struct Worker {
    pub(super) root: Arc<Path>,
    pub(super) options: Options,
    pub(super) index: Arc<RwLock<Index>>,
    pub(super) watcher: Watcher,
    pub(super) claims: Claims,
    pub(super) reports: Reports,
    /// Paths that could not be read or watched.
    pub(super) retry: BTreeSet<PathBuf>,
    /// Paths of folders that are read under another path.
    pub(super) aliases: BTreeSet<PathBuf>,
    /// Folders that symbolic links to files lead into.
    pub(super) links: BTreeMap<PathBuf, Link>,
    /// Files whose version of an object has come into effect.
    again: BTreeSet<FileId>,
    pub(super) namespaces: Namespaces,
    pub(super) passed_over: u32,
    pub(super) counters: Arc<Counters>,
    events: Vec<ObjectEvent>,
    sender: mpsc::Sender<Vec<ObjectEvent>>,
    root_is_gone: bool,
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

impl Worker {
    pub(super) fn new(
        root: Arc<Path>,
        options: Options,
        watcher: Watcher,
        faults: crate::Faults,
        sender: mpsc::Sender<Vec<ObjectEvent>>,
    ) -> Self {
        Self {
            root,
            options,
            index: Arc::default(),
            watcher,
            claims: Claims::new(faults.clone()),
            reports: Reports::new(faults),
            retry: BTreeSet::new(),
            aliases: BTreeSet::new(),
            links: BTreeMap::new(),
            again: BTreeSet::new(),
            namespaces: Namespaces::default(),
            passed_over: 0,
            counters: Arc::default(),
            events: Vec::new(),
            sender,
            root_is_gone: false,
        }
    }

    /// Says what there is, and then what changes, until nobody listens.
    pub(super) fn run(mut self) {
        if self.follow().is_err() {
            tracing::debug!(root = %self.root.display(), "no longer following the directory");
        }
    }

    fn follow(&mut self) -> Result<(), Stopped> {
        let root = Arc::clone(&self.root);
        self.scan_tree(&root)?;
        self.settle()?;
        self.say(ObjectEvent::Synced)?;
        self.flush()?;
        loop {
            let touched = match self.watcher.wait(if self.root_is_gone { RETRY_ROOT } else { RETRY }) {
                Wake::Stopped => return Err(Stopped),
                Wake::Changed(touched) => touched,
                Wake::Elapsed => Touched { paths: std::mem::take(&mut self.retry), rescan: false },
            };
            self.look_at(touched)?;
            self.settle()?;
            self.flush()?;
        }
    }

    /// Reads what has been touched, and nothing else.
    fn look_at(&mut self, touched: Touched) -> Result<(), Stopped> {
        let root = Arc::clone(&self.root);
        match self.look_at_root() {
            Root::Gone => return Ok(()),
            Root::Same if !touched.rescan => {}
            Root::Same | Root::New => {
                self.counters.rescanned();
                return self.scan_tree(&root);
            }
        }
        let mut targets = Targets::default();
        for path in touched.paths {
            self.sort_out(path, &mut targets);
        }
        // First what is gone: a folder that was moved is still known by its old path.
        for path in targets.gone {
            self.forget(&path)?;
        }
        for folder in targets.folders {
            self.scan_touched(&folder)?;
        }
        targets.files.into_iter().try_for_each(|path| self.read_path(&path))
    }

    /// Repeats what has become possible, until nothing more follows.
    fn settle(&mut self) -> Result<(), Stopped> {
        self.take_over()?;
        let waiting = std::mem::take(&mut self.aliases);
        for path in waiting {
            self.scan_tree(&path)?;
        }
        self.take_over()?;
        let index = self.read_index();
        metrics::holds(index.files(), index.objects());
        Ok(())
    }

    /// Reads the files whose version of an object has come into effect. One after the other: thousands may follow
    /// from each other.
    fn take_over(&mut self) -> Result<(), Stopped> {
        while let Some(file) = self.again.pop_first() {
            let path = self.read_index().path(file);
            self.read_path(&path)?;
        }
        Ok(())
    }

    /// Finds out what a path that was touched stands for.
    fn sort_out(&self, path: PathBuf, targets: &mut Targets) {
        if path == *self.root {
            targets.folders.insert(path);
            return;
        }
        let Some((parent, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else { return };
        targets.folders.extend(self.links_to(&path).chain(self.links_to(parent)).cloned());
        if self.read_index().dir(parent).is_none() {
            return;
        }
        if file::is_hidden(name) {
            if name.starts_with("..") {
                targets.folders.insert(parent.to_owned());
            }
            return;
        }
        match std::fs::symlink_metadata(&path) {
            Ok(status) if status.is_symlink() => drop(targets.folders.insert(parent.to_owned())),
            Ok(status) if status.is_dir() => drop(targets.folders.insert(path)),
            Ok(_) if !file::is_manifest(name) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => targets.gone.push(path),
            Ok(_) | Err(_) => targets.files.push(path),
        }
    }

    /// The folders with symbolic links that lead into a folder.
    fn links_to(&self, path: &Path) -> impl Iterator<Item = &PathBuf> {
        let target = if self.links.is_empty() { None } else { path.canonicalize().ok() };
        target.and_then(|target| self.links.get(&target)).into_iter().flat_map(|link| &link.from)
    }

    /// Sees whether the root is there, and the folder that it was. While it is gone, everything is kept.
    fn look_at_root(&mut self) -> Root {
        let was_gone = self.root_is_gone;
        let Some(identity) =
            std::fs::metadata(&self.root).ok().filter(Metadata::is_dir).map(|status| file::identity(&status))
        else {
            if !was_gone {
                let root: Arc<str> = self.root.to_string_lossy().into();
                self.reports.reject(&root, "is gone: what was read from it stays in effect until it is back");
            }
            self.root_is_gone = true;
            return Root::Gone;
        };
        self.root_is_gone = false;
        let index = self.read_index();
        let known = index.dir(&self.root).and_then(|dir| index.identity(dir));
        if was_gone || known != Some(identity) { Root::New } else { Root::Same }
    }

    /// Hands an event over, in batches.
    pub(super) fn say(&mut self, event: ObjectEvent) -> Result<(), Stopped> {
        self.events.push(event);
        if self.events.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        if self.events.is_empty() {
            return Ok(());
        }
        self.watcher.take_in();
        self.sender.blocking_send(std::mem::take(&mut self.events)).map_err(|_| Stopped)
    }

    /// Says what is gone, and notes what is to be read because it takes its place.
    pub(super) fn conclude(&mut self, outcome: Outcome) -> Result<(), Stopped> {
        for key in outcome.deleted {
            self.say(ObjectEvent::Deleted(key))?;
        }
        self.again.extend(outcome.read_again);
        Ok(())
    }

    pub(super) fn read_index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks the index to change it.
pub(super) fn write(index: &RwLock<Index>) -> RwLockWriteGuard<'_, Index> {
    index.write().unwrap_or_else(PoisonError::into_inner)
}

/// What the paths that were touched stand for.
#[derive(Debug, Default)]
struct Targets {
    gone: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
}

/// What has become of the root.
enum Root {
    Same,
    New,
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectKey, ObjectKind, ObjectRef};

    fn config_map(name: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
    }

    #[test]
    fn when_events_are_lost_everything_is_looked_at_but_only_what_differs_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(dir.path().join(format!("{name}.yaml")), config_map(name)).unwrap();
        }
        // Nobody asks the watcher what it has seen: all of that is lost.
        let (watcher, _stop) = Watcher::new().unwrap();
        let (sender, mut batches) = mpsc::channel(2);
        let root: Arc<Path> = dir.path().into();
        let mut worker = Worker::new(root, Options::default(), watcher, crate::Faults::default(), sender);
        worker.look_at(Touched { rescan: true, ..Touched::default() }).unwrap();
        worker.flush().unwrap();
        assert_eq!(batches.try_recv().unwrap().len(), 3);

        std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
        std::fs::write(dir.path().join("b.yaml"), config_map("d")).unwrap();
        worker.look_at(Touched { rescan: true, ..Touched::default() }).unwrap();
        worker.flush().unwrap();
        let key = |name| ObjectKey { kind: ObjectKind::ConfigMap, object: ObjectRef::new("default", name) };
        let events = batches.try_recv().unwrap();
        let deleted = |name| events.contains(&ObjectEvent::Deleted(key(name)));
        assert!(events.len() == 3 && deleted("a") && deleted("b"), "{events:?}");
        assert_eq!(worker.counters.stats(&Index::default()).file_reads, 4);
    }
}
