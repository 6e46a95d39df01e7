//! What the cluster holds: the objects of each kind, and the changes that led there.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

use super::error::ApiError;
use super::kind::Kind;
use super::object::{Key, Object, split_key};

mod table;

use table::Table;
pub use table::{Change, Verdict};

/// The objects of a kind at one moment.
pub type Objects = OrdMap<Key, Arc<Object>>;

/// All objects, under one revision that counts every change, as etcd's does.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    changed: Vec<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Inner {
    revision: u64,
    tables: Vec<Table>,
}

/// Copy of everything that a store holds, as a snapshot of etcd is.
#[derive(Clone, Debug)]
pub struct Backup {
    revision: u64,
    tables: Vec<Objects>,
}

/// What is to become of an object.
#[derive(Debug)]
pub enum Step {
    /// It is written; nothing happens where it is equal to what is there.
    Put(Value),
    /// It goes, and this is its last state.
    Remove(Value),
    /// The answer is this, but nothing is stored.
    Pretend(Value),
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// It is new.
    Created(Arc<Object>),
    /// It is there, changed or not.
    Stored(Arc<Object>),
    /// It is gone.
    Removed(Arc<Object>),
}

impl Outcome {
    /// The object in its last state.
    pub fn object(&self) -> &Arc<Object> {
        let (Self::Created(object) | Self::Stored(object) | Self::Removed(object)) = self;
        object
    }
}

/// A list, and the revision that it is of.
#[derive(Debug)]
pub struct Snapshot {
    /// The objects.
    pub objects: Objects,
    /// The revision.
    pub revision: u64,
}

impl Store {
    /// An empty store that keeps this many changes of each kind.
    pub fn new(history: usize) -> Self {
        let tables = Kind::ALL.iter().map(|_| Table::new(history)).collect();
        let changed = Kind::ALL.iter().map(|_| watch::Sender::new(0)).collect();
        // A cluster has a past: nothing starts at revision 0, which means "any" in requests.
        Self { inner: Mutex::new(Inner { revision: 1_000, tables }), changed }
    }

    /// The present revision.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Decides on an object and carries the decision out; nothing else happens in between.
    pub fn write(
        &self,
        kind: Kind,
        key: &Key,
        decide: impl FnOnce(Option<Value>) -> Result<Step, ApiError>,
    ) -> Result<Outcome, ApiError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let table = &mut inner.tables[kind.index()];
        let old = table.objects.get(key).cloned();
        let before = old.as_ref().map(|object| object.value());
        let step = decide(before.clone())?;
        let revision = inner.revision + 1;
        let outcome = match step {
            Step::Pretend(mut value) => {
                return Ok(Outcome::Stored(Arc::new(Object::encode(kind, inner.revision, &mut value))));
            }
            Step::Put(mut value) => {
                if let (Some(old), Some(before)) = (&old, &before)
                    && same(before, &value)
                {
                    return Ok(Outcome::Stored(Arc::clone(old)));
                }
                let object = Arc::new(Object::encode(kind, revision, &mut value));
                if table.put(key, &object) { Outcome::Created(object) } else { Outcome::Stored(object) }
            }
            Step::Remove(mut value) => {
                let object = Arc::new(Object::encode(kind, revision, &mut value));
                table.remove(key, &object);
                Outcome::Removed(object)
            }
        };
        inner.revision = revision;
        self.changed[kind.index()].send_replace(revision);
        Ok(outcome)
    }

    /// One object.
    pub fn get(&self, kind: Kind, key: &str) -> Option<Arc<Object>> {
        self.lock().tables[kind.index()].objects.get(key).cloned()
    }

    /// All objects of a kind at present. It costs nothing, whatever their number.
    pub fn snapshot(&self, kind: Kind) -> Snapshot {
        let inner = self.lock();
        Snapshot { objects: inner.tables[kind.index()].objects.clone(), revision: inner.revision }
    }

    /// [`Self::snapshot`], kept for the pages that follow.
    pub fn snapshot_for_pages(&self, kind: Kind) -> Snapshot {
        let mut inner = self.lock();
        let revision = inner.revision;
        let objects = inner.tables[kind.index()].keep(revision);
        Snapshot { objects, revision }
    }

    /// The objects of a kind at this revision, if it can still be told.
    pub fn snapshot_at(&self, kind: Kind, revision: u64) -> Option<Snapshot> {
        let inner = self.lock();
        let objects = inner.tables[kind.index()].at(revision, inner.revision)?;
        Some(Snapshot { objects, revision })
    }

    /// At most `limit` changes of a kind after a revision, and the revision up to which there are no others.
    pub fn changes(&self, kind: Kind, after: u64, limit: usize) -> Result<(Vec<Arc<Change>>, u64), ApiError> {
        let inner = self.lock();
        let changes = inner.tables[kind.index()].after(after, limit)?;
        let up_to = match changes.last() {
            Some(last) if changes.len() == limit => last.object.revision,
            _ => inner.revision.max(after),
        };
        Ok((changes, up_to))
    }

    /// Says when objects of a kind have changed.
    pub fn subscribe(&self, kind: Kind) -> watch::Receiver<u64> {
        self.changed[kind.index()].subscribe()
    }

    /// Forgets the past: a watch from an earlier revision, and a page of an earlier list, are answered by 410.
    pub fn compact(&self) {
        let mut inner = self.lock();
        let revision = inner.revision;
        for table in &mut inner.tables {
            table.compact(revision);
        }
    }

    /// Copies what there is.
    pub fn backup(&self) -> Backup {
        let inner = self.lock();
        Backup { revision: inner.revision, tables: inner.tables.iter().map(|table| table.objects.clone()).collect() }
    }

    /// Goes back to a copy, and counts on from its revision: later revisions are given a second time.
    pub fn restore(&self, backup: &Backup) {
        let mut inner = self.lock();
        inner.revision = backup.revision;
        for (table, objects) in inner.tables.iter_mut().zip(&backup.tables) {
            table.restore(objects.clone(), backup.revision);
        }
    }

    /// Forgets the lists that pages continue; changes are kept.
    pub fn forget_pages(&self) {
        self.lock().tables.iter_mut().for_each(Table::forget_pages);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two related changes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Objects in a namespace (`None`: in all), after a key.
pub fn range<'a>(
    objects: &'a Objects,
    namespace: Option<&'a str>,
    after: Option<&'a str>,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    let first = namespace.map(|namespace| format!("{namespace}/"));
    let start = match (after, &first) {
        (Some(after), _) => Bound::Excluded(after),
        (None, Some(first)) => Bound::Included(first.as_str()),
        (None, None) => Bound::Unbounded,
    };
    objects
        .range::<_, str>((start, Bound::Unbounded))
        .take_while(move |(key, _)| namespace.is_none_or(|namespace| split_key(key).0 == namespace))
}

/// Whether two values differ in nothing but the version.
fn same(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let without = |value: &Value| {
        let mut metadata = value.clone();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("resourceVersion");
        }
        metadata
    };
    old.len() == new.len()
        && old.iter().all(|(field, value)| match new.get(field) {
            Some(other) if field == "metadata" => without(value) == without(other),
            other => other == Some(value),
        })
}

/// The revisions that pages continue, newest last.
type Pages = VecDeque<(u64, Objects)>;
