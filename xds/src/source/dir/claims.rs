//! Which version of an object is in effect when several places name it, and what changes when a file is read again.
//!
//! The first place by path, then by document, is in effect; every other is a contender and has a fault that names
//! both. A contender takes over when the first goes: it owns the object from then on and its file is read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::index::{FileId, Index};
use super::record::{Entry, Facts, Place, Record};
use super::typed::Loaded;
use crate::fault::{Fault, Faults, Finder, Severity, Subject};
use crate::object::{Object, ObjectEvent, ObjectKey};

/// Who else names an object that is in effect. Empty unless something is named twice.
#[derive(Debug)]
pub(super) struct Claims {
    contenders: HashMap<ObjectKey, Vec<Contender>>,
    faults: Faults,
}

#[derive(Debug)]
struct Contender {
    file: FileId,
    subject: Subject,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) file: FileId,
    pub(super) path: Arc<str>,
    /// What the file held before and has not been found again yet.
    before: HashMap<ObjectKey, Facts>,
    by_fingerprint: HashMap<u64, ObjectKey>,
    /// What has been found, and in which document.
    seen: HashMap<ObjectKey, u32>,
    now: Vec<Entry>,
    broken: HashSet<ObjectKey>,
    unreadable: bool,
}

/// What follows from a file that has been read.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Objects that are gone.
    pub(super) deleted: Vec<ObjectKey>,
    /// Files that have something to say now.
    pub(super) read_again: Vec<FileId>,
}

impl Reading {
    /// Begins to read a file.
    pub(super) fn new(index: &Index, file: FileId, path: Arc<str>) -> Self {
        let entries = index.record(file).into_iter().flat_map(Record::entries);
        let before: HashMap<ObjectKey, Facts> = entries.map(|entry| (entry.key, entry.facts)).collect();
        let whole = before.iter().filter(|(_, facts)| facts.fingerprint != 0 && facts.place.item == 0);
        let by_fingerprint = whole.map(|(key, facts)| (facts.fingerprint, key.clone())).collect();
        Self {
            file,
            path,
            before,
            by_fingerprint,
            seen: HashMap::new(),
            now: Vec::new(),
            broken: HashSet::new(),
            unreadable: false,
        }
    }

    /// True if a document is as it was, so that it needs no parsing; its place is noted.
    pub(super) fn unchanged(&mut self, fingerprint: u64, place: Place) -> bool {
        let Some(key) = self.by_fingerprint.remove(&fingerprint) else { return false };
        let Some(facts) = self.before.remove(&key) else { return false };
        self.seen.insert(key.clone(), place.document);
        self.now.push(Entry { key, facts: Facts { place, ..facts } });
        true
    }

    /// True if there were objects in the file before.
    pub(super) fn held_something(&self) -> bool {
        !self.before.is_empty()
    }

    /// What cannot be read may be any object of the file: none of them is taken away.
    pub(super) fn keep_all(&mut self) {
        self.unreadable = true;
    }

    /// The last good version of an object stays.
    pub(super) fn keep(&mut self, key: ObjectKey) {
        self.broken.insert(key);
    }

    /// The place of a document of this file in messages.
    pub(super) fn subject(&self, document: u32, object: Option<ObjectKey>) -> Subject {
        Subject::Place { path: Arc::clone(&self.path), document: Some(document), object }
    }
}

impl Claims {
    pub(super) fn new(faults: Faults) -> Self {
        Self { contenders: HashMap::new(), faults }
    }

    /// Takes an object of a file in. Yields the event to say, or the document that has named it before.
    pub(super) fn offer(
        &mut self,
        index: &mut Index,
        reading: &mut Reading,
        (loaded, fingerprint, place): (Loaded, u64, Place),
    ) -> Result<Option<ObjectEvent>, u32> {
        let Loaded { key, object, version } = loaded;
        if let Some(document) = reading.seen.get(&key) {
            return Err(*document);
        }
        let before = reading.before.remove(&key);
        // Who names an object is its owner or a contender; to ask the index costs as much as the file is long.
        let in_effect =
            before.is_some() && !self.contenders.contains_key(&key) || self.claim(index, reading, &key, place.document);
        let secret_type = if let Object::Secret(meta) = &object { meta.secret_type.clone() } else { None };
        let said = before.as_ref().is_some_and(|facts| {
            facts.fingerprint == fingerprint || (facts.fingerprint != 0 && version != 0 && facts.version == version)
        });
        let fingerprint = if in_effect { fingerprint } else { 0 };
        reading.seen.insert(key.clone(), place.document);
        reading.now.push(Entry { key, facts: Facts { fingerprint, version, secret_type, place } });
        Ok((in_effect && !said).then_some(ObjectEvent::Applied(object)))
    }

    /// Decides whether the file that is read has the version of an object that is in effect.
    fn claim(&mut self, index: &mut Index, reading: &Reading, key: &ObjectKey, document: u32) -> bool {
        let file = reading.file;
        match index.owner(key.kind, &key.object) {
            None => index.set_owner(key.kind, &key.object, file, None),
            Some(owner) if owner == file => self.report(index, key, file, document),
            Some(owner) if index.order(file, owner).is_lt() => {
                self.withdraw(key, file);
                index.set_owner(key.kind, &key.object, file, Some(owner));
                let second = unsay(index, owner, key);
                self.contend(index, key, owner, second);
                self.report(index, key, file, document);
            }
            Some(owner) => {
                self.withdraw(key, file);
                self.contend(index, key, file, document);
                let first = place(index, owner, key).document;
                // The others have been told.
                let added = self.contenders.get(key).and_then(|contenders| contenders.last());
                self.tell(index, added, owner, first);
                return false;
            }
        }
        true
    }

    /// Ends the reading of a file: what has not been found again is gone, unless it may only be unreadable.
    pub(super) fn finish(&mut self, index: &mut Index, reading: Reading) -> Outcome {
        let Reading { file, before, mut now, broken, unreadable, .. } = reading;
        let mut gone = Vec::new();
        for (key, facts) in before {
            if unreadable || broken.contains(&key) {
                now.push(Entry { key, facts });
            } else {
                gone.push(key);
            }
        }
        index.set_entries(file, &now);
        let mut outcome = Outcome::default();
        for key in gone {
            self.release(index, file, key, &mut outcome);
        }
        outcome
    }

    /// A file no longer names an object.
    fn release(&mut self, index: &mut Index, file: FileId, key: ObjectKey, outcome: &mut Outcome) {
        self.withdraw(&key, file);
        if !index.owns(file, key.kind, &key.object) {
            return;
        }
        let contenders = self.contenders.get(&key).into_iter().flatten().map(|contender| contender.file);
        let Some(next) = contenders.min_by(|a, b| index.order(*a, *b)) else {
            index.clear_owner(key.kind, &key.object, file);
            outcome.deleted.push(key);
            return;
        };
        index.set_owner(key.kind, &key.object, next, Some(file));
        self.withdraw(&key, next);
        let document = place(index, next, &key).document;
        self.report(index, &key, next, document);
        outcome.read_again.push(next);
    }

    /// Notes that a file names an object that another is preferred for.
    fn contend(&mut self, index: &Index, key: &ObjectKey, file: FileId, document: u32) {
        let path = index.path(file).to_string_lossy().into();
        let subject = Subject::Place { path, document: Some(document), object: Some(key.clone()) };
        self.contenders.entry(key.clone()).or_default().push(Contender { file, subject });
    }

    /// Forgets that a file names an object, and its fault.
    fn withdraw(&mut self, key: &ObjectKey, file: FileId) {
        let Some(contenders) = self.contenders.get_mut(key) else { return };
        if let Some(at) = contenders.iter().position(|contender| contender.file == file) {
            self.faults.set(Finder::Conflicts, contenders.swap_remove(at).subject, Vec::new());
        }
        if contenders.is_empty() {
            self.contenders.remove(key);
        }
    }

    /// Tells every contender which place is in effect.
    fn report(&self, index: &Index, key: &ObjectKey, owner: FileId, document: u32) {
        self.tell(index, self.contenders.get(key).into_iter().flatten(), owner, document);
    }

    fn tell<'a>(
        &self,
        index: &Index,
        contenders: impl IntoIterator<Item = &'a Contender>,
        owner: FileId,
        document: u32,
    ) {
        for contender in contenders {
            let path = index.path(owner);
            let message = format!(
                "is also in {} document {document}, which is in effect because its path comes first; \
                 an object may be in one place only",
                path.display()
            );
            let (subject, severity) = (contender.subject.clone(), Severity::Error);
            let fault = Fault { subject: subject.clone(), field: None, message, severity };
            self.faults.set(Finder::Conflicts, subject, vec![fault]);
        }
    }
}

/// Where a file has an object.
fn place(index: &Index, file: FileId, key: &ObjectKey) -> Place {
    let entry = index.record(file).and_then(|record| record.find(key.kind, &key.object));
    entry.map_or_else(Place::default, |entry| entry.place)
}

/// Notes that nothing has been said of a file's version of an object. Yields its document.
fn unsay(index: &mut Index, file: FileId, key: &ObjectKey) -> u32 {
    let record = index.record(file).into_iter();
    let mut entries: Vec<Entry> = record.flat_map(Record::entries).collect();
    let mut document = 1;
    for entry in entries.iter_mut().filter(|entry| entry.key == *key) {
        entry.facts.fingerprint = 0;
        document = entry.facts.place.document;
    }
    index.set_entries(file, &entries);
    document
}
