//! Which file holds which object: folders, files, and the owner of every object that is in effect.
//!
//! Made to be small and to change in constant time: files are chained within their folder, an object's name stands
//! once, packed in the [`Record`] of its file, and the table of owners holds only hashes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::file::Identity;
use super::record::{Entry, Record};
use crate::object::{ObjectKind, ObjectRef};

/// A folder in the [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DirId(u32);

/// A file in the [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(u32);

/// The end of a chain of files.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Dir {
    path: Arc<Path>,
    identity: Identity,
    first: u32,
}

#[derive(Debug)]
struct File {
    dir: u32,
    next: u32,
    previous: u32,
    /// Of the file's status when it was read; 0 if it has not been read.
    stamp: u32,
    record: Record,
}

/// The owner of the object whose name has this hash. It tells which records to look at; the names in them decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    hash: u32,
    file: u32,
}

/// Folders, files and owners.
#[derive(Debug, Default)]
pub(super) struct Index {
    dirs: Slab<Dir>,
    by_path: BTreeMap<Arc<Path>, DirId>,
    by_identity: HashMap<Identity, DirId>,
    files: Slab<File>,
    by_name: HashTable<u32>,
    owners: HashTable<Owner>,
    seed: RandomState,
}

fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
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
        self.dirs.get(dir.0 as usize).map(|dir| Arc::clone(&dir.path))
    }

    /// What a folder was known by when it was added.
    pub(super) fn identity(&self, dir: DirId) -> Option<Identity> {
        self.dirs.get(dir.0 as usize).map(|dir| dir.identity)
    }

    /// Adds a folder that is not there yet.
    pub(super) fn add_dir(&mut self, path: &Path, identity: Identity) -> DirId {
        let path: Arc<Path> = path.into();
        let dir = DirId(id(self.dirs.insert(Dir { path: Arc::clone(&path), identity, first: NONE })));
        self.by_path.insert(path, dir);
        self.by_identity.insert(identity, dir);
        dir
    }

    /// A folder at a known path has become another one.
    pub(super) fn set_identity(&mut self, dir: DirId, identity: Identity) {
        if let Some(known) = self.dirs.get_mut(dir.0 as usize) {
            if self.by_identity.get(&known.identity) == Some(&dir) {
                self.by_identity.remove(&known.identity);
            }
            known.identity = identity;
            self.by_identity.insert(identity, dir);
        }
    }

    /// Forgets a folder, which has no files any more.
    pub(super) fn remove_dir(&mut self, dir: DirId) {
        if let Some(gone) = self.dirs.try_remove(dir.0 as usize) {
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

    fn name_hash(&self, dir: u32, name: &str) -> u64 {
        self.seed.hash_one((dir, name))
    }

    /// A file by folder and name.
    pub(super) fn file(&self, dir: DirId, name: &str) -> Option<FileId> {
        let is_it = |&file: &u32| {
            self.files.get(file as usize).is_some_and(|file| file.dir == dir.0 && file.record.file() == name)
        };
        self.by_name.find(self.name_hash(dir.0, name), is_it).copied().map(FileId)
    }

    /// Adds a file that is not there yet.
    pub(super) fn add_file(&mut self, dir: DirId, name: &str) -> FileId {
        let next = self.dirs.get(dir.0 as usize).map_or(NONE, |dir| dir.first);
        if self.files.len() == self.files.capacity() {
            // Not twice as many: half of that would often stay unused.
            self.files.reserve_exact(self.files.len() / 8 + 64);
        }
        let file = File { dir: dir.0, next, previous: NONE, stamp: 0, record: Record::new(name, []) };
        let file = id(self.files.insert(file));
        if let Some(next) = self.files.get_mut(next as usize) {
            next.previous = file;
        }
        if let Some(dir) = self.dirs.get_mut(dir.0 as usize) {
            dir.first = file;
        }
        let hash = self.name_hash(dir.0, name);
        let (files, seed) = (&self.files, &self.seed);
        self.by_name.insert_unique(hash, file, |&file| {
            files.get(file as usize).map_or(0, |file| seed.hash_one((file.dir, file.record.file())))
        });
        FileId(file)
    }

    /// Forgets a file, which owns nothing any more.
    pub(super) fn remove_file(&mut self, file: FileId) {
        let Some(gone) = self.files.get(file.0 as usize) else { return };
        let hash = self.name_hash(gone.dir, gone.record.file());
        if let Ok(found) = self.by_name.find_entry(hash, |&other| other == file.0) {
            found.remove();
        }
        let gone = self.files.remove(file.0 as usize);
        match self.files.get_mut(gone.previous as usize) {
            Some(previous) => previous.next = gone.next,
            None => {
                if let Some(dir) = self.dirs.get_mut(gone.dir as usize) {
                    dir.first = gone.next;
                }
            }
        }
        if let Some(next) = self.files.get_mut(gone.next as usize) {
            next.previous = gone.previous;
        }
    }

    /// The files of a folder.
    pub(super) fn files_in(&self, dir: DirId) -> impl Iterator<Item = FileId> {
        let first = self.dirs.get(dir.0 as usize).map_or(NONE, |dir| dir.first);
        let known = |file: u32| (file != NONE).then_some(file);
        std::iter::successors(known(first), move |&file| {
            self.files.get(file as usize).and_then(|file| known(file.next))
        })
        .map(FileId)
    }

    /// The record of a file; an empty one if the file is not known.
    pub(super) fn record(&self, file: FileId) -> Option<&Record> {
        self.files.get(file.0 as usize).map(|file| &file.record)
    }

    /// Replaces what is remembered of the objects in a file.
    pub(super) fn set_entries(&mut self, file: FileId, entries: &[Entry]) {
        if let Some(file) = self.files.get_mut(file.0 as usize) {
            file.record = Record::new(file.record.file(), entries);
        }
    }

    /// The stamp that a file had when it was read.
    pub(super) fn stamp(&self, file: FileId) -> u32 {
        self.files.get(file.0 as usize).map_or(0, |file| file.stamp)
    }

    /// Notes the stamp of a file.
    pub(super) fn set_stamp(&mut self, file: FileId, stamp: u32) {
        if let Some(file) = self.files.get_mut(file.0 as usize) {
            file.stamp = stamp;
        }
    }

    /// The path of a file; an empty one if the file is not known.
    pub(super) fn path(&self, file: FileId) -> PathBuf {
        let Some(file) = self.files.get(file.0 as usize) else { return PathBuf::new() };
        self.dirs.get(file.dir as usize).map_or_else(PathBuf::new, |dir| dir.path.join(file.record.file()))
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
        let hash = self.owner_hash(kind, object);
        let holds = |owner: &Owner| {
            let file = self.files.get(owner.file as usize);
            owner.hash == hash && file.is_some_and(|file| file.record.find(kind, object).is_some())
        };
        self.owners.find(self.seed.hash_one(hash), holds).map(|owner| FileId(owner.file))
    }

    /// True if this file's version of an object is in effect.
    pub(super) fn owns(&self, file: FileId, kind: ObjectKind, object: &ObjectRef) -> bool {
        let owner = Owner { hash: self.owner_hash(kind, object), file: file.0 };
        self.owners.find(self.seed.hash_one(owner.hash), |known| *known == owner).is_some()
    }

    /// Makes a file's version of an object the one in effect, instead of that of `before`.
    pub(super) fn set_owner(&mut self, kind: ObjectKind, object: &ObjectRef, file: FileId, before: Option<FileId>) {
        let owner = Owner { hash: self.owner_hash(kind, object), file: file.0 };
        let (hash, seed) = (self.seed.hash_one(owner.hash), &self.seed);
        let same = |known: &Owner| before.is_some_and(|before| *known == Owner { file: before.0, ..owner });
        if let Some(known) = self.owners.find_mut(hash, same) {
            *known = owner;
        } else {
            self.owners.insert_unique(hash, owner, |owner| seed.hash_one(owner.hash));
        }
    }

    /// No version of an object is in effect any more.
    pub(super) fn clear_owner(&mut self, kind: ObjectKind, object: &ObjectRef, file: FileId) {
        let owner = Owner { hash: self.owner_hash(kind, object), file: file.0 };
        if let Ok(found) = self.owners.find_entry(self.seed.hash_one(owner.hash), |known| *known == owner) {
            found.remove();
        }
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
