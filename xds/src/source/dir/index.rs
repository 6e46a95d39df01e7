//! Which file holds which object: folders, files, and the owner of every object that is in effect.
//!
//! Made to be small and to change in constant time: each folder has a table of its files, an object's name stands once, in
//! the packed [`Record`] of its file, and the table of owners holds only hashes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::file::Identity;
use super::record::{self, Entry, Record};
use crate::object::{ObjectKind, ObjectRef};
use crate::store::{Hashes, Namespaces, PackId, Packs, Slots};

/// A folder in the [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DirId(u32);

/// A file in the [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(u32);

#[derive(Debug)]
struct Dir {
    path: Arc<Path>,
    identity: Identity,
    /// By name.
    files: HashTable<u32>,
}

#[derive(Debug)]
struct File {
    dir: u32,
    /// Of the file's status when it was read; 0 if it has not been read.
    stamp: u32,
    record: PackId,
}

/// Folders, files and owners.
#[derive(Debug, Default)]
pub(super) struct Index {
    dirs: Slots<Dir>,
    by_path: BTreeMap<Arc<Path>, DirId>,
    by_identity: HashMap<Identity, DirId>,
    files: Slots<File>,
    records: Packs,
    /// Of the objects in the records.
    namespaces: Namespaces,
    /// The owner of each object, by the hash of its name. It tells which records to look at; the names in them decide.
    owners: Hashes,
    seed: RandomState,
}

impl Index {
    /// The hasher of this index; seeded anew in every process.
    pub(super) fn hasher(&self) -> RandomState {
        self.seed.clone()
    }

    /// The folder at a path.
    pub(super) fn dir(&self, path: &Path) -> Option<DirId> {
        self.by_path.get(path).copied()
    }

    /// The folder with an identity, and its path.
    pub(super) fn same_dir(&self, identity: Identity) -> Option<(DirId, Arc<Path>)> {
        let dir = *self.by_identity.get(&identity)?;
        Some((dir, self.dir_path(dir)?))
    }

    /// The path of a folder.
    pub(super) fn dir_path(&self, dir: DirId) -> Option<Arc<Path>> {
        self.dirs.get(dir.0).map(|dir| Arc::clone(&dir.path))
    }

    /// What a folder was known by when it was added.
    pub(super) fn identity(&self, dir: DirId) -> Option<Identity> {
        self.dirs.get(dir.0).map(|dir| dir.identity)
    }

    /// Adds a folder that is not there yet.
    pub(super) fn add_dir(&mut self, path: &Path, identity: Identity) -> DirId {
        let path: Arc<Path> = path.into();
        let dir = DirId(self.dirs.insert(Dir { path: Arc::clone(&path), identity, files: HashTable::new() }));
        self.by_path.insert(path, dir);
        self.by_identity.insert(identity, dir);
        dir
    }

    /// A folder at a known path has become another one.
    pub(super) fn set_identity(&mut self, dir: DirId, identity: Identity) {
        if let Some(known) = self.dirs.get_mut(dir.0) {
            if self.by_identity.get(&known.identity) == Some(&dir) {
                self.by_identity.remove(&known.identity);
            }
            known.identity = identity;
            self.by_identity.insert(identity, dir);
        }
    }

    /// Forgets a folder, which has no files any more.
    pub(super) fn remove_dir(&mut self, dir: DirId) {
        if let Some(gone) = self.dirs.remove(dir.0) {
            self.by_path.remove(&gone.path);
            if self.by_identity.get(&gone.identity) == Some(&dir) {
                self.by_identity.remove(&gone.identity);
            }
        }
    }

    /// The folder at a path and all below it.
    pub(super) fn dirs_from(&self, path: &Path) -> Vec<DirId> {
        let from = self.by_path.range::<Path, _>((std::ops::Bound::Included(path), std::ops::Bound::Unbounded));
        from.take_while(|(below, _)| below.starts_with(path)).map(|(_, dir)| *dir).collect()
    }

    /// The paths of the folders directly below one.
    pub(super) fn subdirs(&self, path: &Path) -> Vec<Arc<Path>> {
        let below = self.dirs_from(path).into_iter().filter_map(|dir| self.dir_path(dir));
        below.filter(|below| below.parent() == Some(path)).collect()
    }

    /// A file by folder and name.
    pub(super) fn file(&self, dir: DirId, name: &str) -> Option<FileId> {
        let is_it = |&file: &u32| self.files.get(file).is_some_and(|file| self.record_of(file).file() == name);
        self.dirs.get(dir.0)?.files.find(self.seed.hash_one(name), is_it).copied().map(FileId)
    }

    /// Adds a file that is not there yet to a folder that is.
    pub(super) fn add_file(&mut self, dir: DirId, name: &str) -> FileId {
        let record = self.records.insert(&Record::pack(name, [], &mut self.namespaces));
        let file = self.files.insert(File { dir: dir.0, stamp: 0, record });
        let (files, records, seed) = (&self.files, &self.records, &self.seed);
        if let Some(dir) = self.dirs.get_mut(dir.0) {
            dir.files.insert_unique(seed.hash_one(name), file, |&file| {
                files.get(file).map_or(0, |file| seed.hash_one(record::file_of(records.get(file.record))))
            });
        }
        FileId(file)
    }

    /// Forgets a file, which owns nothing any more.
    pub(super) fn remove_file(&mut self, file: FileId) {
        let Some(gone) = self.files.remove(file.0) else { return };
        let hash = self.seed.hash_one(self.record_of(&gone).file());
        if let Some(dir) = self.dirs.get_mut(gone.dir)
            && let Ok(found) = dir.files.find_entry(hash, |&other| other == file.0)
        {
            found.remove();
        }
        for namespace in self.record_of(&gone).entered() {
            self.namespaces.leave(namespace);
        }
        self.records.remove(gone.record);
    }

    /// The files of a folder, in no order.
    pub(super) fn files_in(&self, dir: DirId) -> impl Iterator<Item = FileId> {
        self.dirs.get(dir.0).into_iter().flat_map(|dir| &dir.files).copied().map(FileId)
    }

    /// The record of a file.
    pub(super) fn record(&self, file: FileId) -> Option<Record<'_>> {
        self.files.get(file.0).map(|file| self.record_of(file))
    }

    fn record_of(&self, file: &File) -> Record<'_> {
        Record::new(self.records.get(file.record), &self.namespaces)
    }

    /// Replaces what is remembered of the objects in a file.
    pub(super) fn set_entries(&mut self, file: FileId, entries: &[Entry]) {
        let Some(file) = self.files.get_mut(file.0) else { return };
        let before = Record::new(self.records.get(file.record), &self.namespaces);
        let (name, left) = (before.file(), before.entered());
        // Entered before they are left, so that those which stay keep their numbers.
        let name = name.to_owned();
        let record = Record::pack(&name, entries, &mut self.namespaces);
        for namespace in left {
            self.namespaces.leave(namespace);
        }
        file.record = self.records.replace(file.record, &record);
    }

    /// The stamp that a file had when it was read.
    pub(super) fn stamp(&self, file: FileId) -> u32 {
        self.files.get(file.0).map_or(0, |file| file.stamp)
    }

    /// Notes the stamp of a file.
    pub(super) fn set_stamp(&mut self, file: FileId, stamp: u32) {
        if let Some(file) = self.files.get_mut(file.0) {
            file.stamp = stamp;
        }
    }

    /// The path of a file; an empty one if the file is not known.
    pub(super) fn path(&self, file: FileId) -> PathBuf {
        let Some(file) = self.files.get(file.0) else { return PathBuf::new() };
        self.dirs.get(file.dir).map_or_else(PathBuf::new, |dir| dir.path.join(self.record_of(file).file()))
    }

    /// The order in which objects in two files are preferred.
    pub(super) fn order(&self, a: FileId, b: FileId) -> Ordering {
        self.path(a).cmp(&self.path(b))
    }

    fn owner_hash(&self, kind: ObjectKind, object: &ObjectRef) -> u32 {
        short(self.seed.hash_one((kind, &*object.namespace, &*object.name)))
    }

    /// The file whose version of an object is in effect.
    pub(super) fn owner(&self, kind: ObjectKind, object: &ObjectRef) -> Option<FileId> {
        let holds = |file: &u32| {
            let file = self.files.get(*file);
            file.is_some_and(|file| self.record_of(file).find(kind, object).is_some())
        };
        self.owners.of(self.owner_hash(kind, object)).find(holds).map(FileId)
    }

    /// True if this file's version of an object is in effect.
    pub(super) fn owns(&self, file: FileId, kind: ObjectKind, object: &ObjectRef) -> bool {
        self.owners.of(self.owner_hash(kind, object)).any(|owner| owner == file.0)
    }

    /// Makes a file's version of an object the one in effect, instead of that of `before`.
    pub(super) fn set_owner(&mut self, kind: ObjectKind, object: &ObjectRef, file: FileId, before: Option<FileId>) {
        let hash = self.owner_hash(kind, object);
        if !before.is_some_and(|before| self.owners.replace(hash, before.0, file.0)) {
            self.owners.insert(hash, file.0);
        }
    }

    /// No version of an object is in effect any more.
    pub(super) fn clear_owner(&mut self, kind: ObjectKind, object: &ObjectRef, file: FileId) {
        self.owners.remove(self.owner_hash(kind, object), file.0);
    }

    /// How many objects are in effect.
    pub(super) fn objects(&self) -> usize {
        self.owners.len()
    }

    /// How many files are known.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }
}

/// Half of a hash.
fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}
