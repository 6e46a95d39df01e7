//! Folders: which are read, what is new in them and what is gone.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claims::Reading;
use super::file;
use super::index::{DirId, FileId};
use super::report::Report;
use super::worker::{Stopped, Worker, write};

/// Folders deeper than this below the root are not read.
const MAX_DEPTH: usize = 32;

/// What stands in a folder.
#[derive(Default)]
struct Listing {
    /// Names of manifests and their stamps, sorted.
    files: Vec<(Box<str>, u32)>,
    /// Names of folders, sorted.
    dirs: Vec<Box<str>>,
    /// Where symbolic links to manifests lead.
    targets: BTreeSet<PathBuf>,
    /// Something could not be looked at: nothing is known to be gone.
    partial: bool,
}

impl Worker {
    /// Reads a folder and all below it, as far as it has changed.
    pub(super) fn scan_tree(&mut self, path: &Path) -> Result<(), Stopped> {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            open.extend(self.scan_dir(&path)?.into_iter().rev());
        }
        Ok(())
    }

    /// Reads a folder as far as it has changed; of those below it only the new ones.
    pub(super) fn scan_touched(&mut self, path: &Path) -> Result<(), Stopped> {
        for below in self.scan_dir(path)? {
            if self.read_index().dir(&below).is_none() {
                self.scan_tree(&below)?;
            }
        }
        Ok(())
    }

    /// Reads a folder as far as it has changed. Yields the folders in it.
    fn scan_dir(&mut self, path: &Path) -> Result<Vec<PathBuf>, Stopped> {
        let shown: Arc<str> = path.to_string_lossy().into();
        let Some(dir) = self.enter(path, &shown)? else { return Ok(Vec::new()) };
        self.watcher.take_in();
        let listing = match self.list(path) {
            Ok(listing) => listing,
            Err(error) => {
                self.reports.reject(&shown, format!("cannot be read: {error}"));
                self.retry.insert(path.to_owned());
                return Ok(Vec::new());
            }
        };
        self.follow_links(path, &listing.targets);
        if listing.partial {
            self.retry.insert(path.to_owned());
        } else {
            self.forget_missing(path, dir, &listing)?;
        }
        for (name, stamp) in &listing.files {
            let known = self.read_index().file(dir, name);
            if known.is_none_or(|file| self.read_index().stamp(file) != *stamp) {
                self.read_path(&path.join(&**name))?;
            }
        }
        Ok(listing.dirs.iter().map(|name| path.join(&**name)).collect())
    }

    /// Notes and watches a folder before it is read, so that no change is missed in between. `None` if it is not to
    /// be read.
    fn enter(&mut self, path: &Path, shown: &Arc<str>) -> Result<Option<DirId>, Stopped> {
        let status = match std::fs::metadata(path) {
            Ok(status) if status.is_dir() => status,
            _ => return self.forget(path).map(|()| None),
        };
        let depth = path.strip_prefix(&self.root).map_or(0, |below| below.components().count());
        if depth > MAX_DEPTH {
            self.reports.reject(shown, format!("is not read: it is more than {MAX_DEPTH} folders deep"));
            return Ok(None);
        }
        let identity = file::identity(&status);
        let same = self.read_index().same_dir(identity).filter(|(_, known)| **known != *path);
        if let Some((_, known)) = same
            && self.read_index().dir(path).is_none()
        {
            self.reports.reject(shown, format!("is the same folder as {}, which is read already", known.display()));
            self.aliases.insert(path.to_owned());
            return Ok(None);
        }
        self.retry.remove(path);
        // Also a folder that is known: one that was deleted and made again may have the same inode and no watch.
        self.watch(path, shown);
        let mut index = write(&self.index);
        let dir = index.dir(path).unwrap_or_else(|| index.add_dir(path, identity));
        index.set_identity(dir, identity);
        Ok(Some(dir))
    }

    /// Watches a folder. Where that fails, it is looked at from time to time.
    fn watch(&mut self, path: &Path, shown: &Arc<str>) {
        match self.watcher.watch(path) {
            Ok(()) => self.reports.replace(shown, Report::default()),
            Err(error) => {
                self.reports.reject(shown, format!("changes are seen late: {}", error.reason()));
                self.retry.insert(path.to_owned());
            }
        }
    }

    /// Looks at what stands in a folder.
    fn list(&mut self, path: &Path) -> io::Result<Listing> {
        let hasher = self.read_index().hasher();
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                tracing::info!(path = %entry.path().display(), "passed over: the name is not UTF-8");
                continue;
            };
            if file::is_hidden(&name) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                listing.dirs.push(name.into());
                continue;
            }
            if !kind.is_symlink() && !file::is_manifest(&name) {
                continue;
            }
            match std::fs::metadata(entry.path()) {
                Ok(status) => listing.add(name, &status, &entry.path(), kind.is_symlink(), &hasher),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => listing.partial = true,
            }
        }
        listing.files.sort_unstable();
        listing.dirs.sort_unstable();
        Ok(listing)
    }

    /// Forgets the files and folders that a folder does not have any more.
    fn forget_missing(&mut self, path: &Path, dir: DirId, listing: &Listing) -> Result<(), Stopped> {
        let gone: Vec<FileId> = {
            let index = self.read_index();
            let is_there = |name: &str| listing.files.binary_search_by(|(known, _)| (**known).cmp(name)).is_ok();
            let files = index.files_in(dir);
            files.filter(|file| index.record(*file).is_some_and(|record| !is_there(record.file()))).collect()
        };
        for file in gone {
            self.forget_file(file)?;
        }
        let known = self.read_index().subdirs(path);
        for below in known {
            let name = below.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if listing.dirs.binary_search_by(|known| (**known).cmp(name)).is_err() {
                self.forget(&below)?;
            }
        }
        Ok(())
    }

    /// Forgets what was at a path: a file, or a folder with all below it.
    pub(super) fn forget(&mut self, path: &Path) -> Result<(), Stopped> {
        self.retry.remove(path);
        self.reports.replace(&path.to_string_lossy().into(), Report::default());
        let dirs = self.read_index().dirs_from(path);
        for &dir in &dirs {
            let files: Vec<FileId> = self.read_index().files_in(dir).collect();
            for file in files {
                self.forget_file(file)?;
            }
            let gone = self.read_index().dir_path(dir);
            write(&self.index).remove_dir(dir);
            if let Some(gone) = gone {
                self.watcher.unwatch(&gone);
                self.follow_links(&gone, &BTreeSet::new());
                self.retry.remove(&*gone);
                self.reports.replace(&gone.to_string_lossy().into(), Report::default());
            }
        }
        if !dirs.is_empty() {
            return Ok(());
        }
        let Some((parent, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else {
            return Ok(());
        };
        let file = {
            let index = self.read_index();
            index.dir(parent).and_then(|dir| index.file(dir, name))
        };
        file.map_or(Ok(()), |file| self.forget_file(file))
    }

    /// Forgets a file and everything in it.
    fn forget_file(&mut self, file: FileId) -> Result<(), Stopped> {
        let (path, outcome) = {
            let mut index = write(&self.index);
            let path: Arc<str> = index.path(file).to_string_lossy().into();
            let reading = Reading::new(&index, file, Arc::clone(&path));
            let outcome = self.claims.finish(&mut index, reading);
            index.remove_file(file);
            (path, outcome)
        };
        self.reports.replace(&path, Report::default());
        self.conclude(outcome)
    }
}

impl Listing {
    fn add(&mut self, name: String, status: &Metadata, path: &Path, link: bool, hasher: &foldhash::fast::RandomState) {
        if status.is_dir() {
            self.dirs.push(name.into());
        } else if file::is_manifest(&name) {
            self.files.push((name.into(), file::stamp(status, hasher)));
            if link
                && let Ok(target) = path.canonicalize()
                && let Some(parent) = target.parent()
            {
                self.targets.insert(parent.to_owned());
            }
        }
    }
}
