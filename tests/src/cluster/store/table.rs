//! The objects of one kind with their recent past.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::error::ApiError;
use super::super::object::{Key, Object};
use super::{Objects, Pages};

/// How many lists that are being paged through are kept; the oldest goes first.
const PAGES: usize = 32;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    Added,
    /// It has changed.
    Modified,
    /// It is gone.
    Deleted,
}

impl Verdict {
    /// As a watch event's type says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change of an object.
#[derive(Debug)]
pub struct Change {
    /// What happened.
    pub verdict: Verdict,
    /// To which object.
    pub key: Key,
    /// Its state since then, or its last one.
    pub object: Arc<Object>,
    /// Its state before.
    pub before: Option<Arc<Object>>,
}

/// Invariant: `history` holds every change after `compacted`, in order.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) objects: Objects,
    history: VecDeque<Arc<Change>>,
    capacity: usize,
    compacted: u64,
    pages: Pages,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self { objects: Objects::new(), history: VecDeque::new(), capacity, compacted: 0, pages: Pages::new() }
    }

    /// Stores an object; whether it is new.
    pub(super) fn put(&mut self, key: &Key, object: &Arc<Object>) -> bool {
        let before = self.objects.insert(Arc::clone(key), Arc::clone(object));
        let verdict = if before.is_some() { Verdict::Modified } else { Verdict::Added };
        self.record(Change { verdict, key: Arc::clone(key), object: Arc::clone(object), before });
        verdict == Verdict::Added
    }

    pub(super) fn remove(&mut self, key: &Key, last: &Arc<Object>) {
        let before = self.objects.remove(key);
        self.record(Change { verdict: Verdict::Deleted, key: Arc::clone(key), object: Arc::clone(last), before });
    }

    fn record(&mut self, change: Change) {
        if self.history.len() >= self.capacity
            && let Some(oldest) = self.history.pop_front()
        {
            self.compacted = oldest.object.revision;
        }
        if self.capacity == 0 {
            self.compacted = change.object.revision;
        } else {
            self.history.push_back(Arc::new(change));
        }
    }

    pub(super) fn after(&self, revision: u64, limit: usize) -> Result<Vec<Arc<Change>>, ApiError> {
        if revision < self.compacted {
            return Err(ApiError::gone(revision, self.compacted));
        }
        let first = self.history.partition_point(|change| change.object.revision <= revision);
        Ok(self.history.iter().skip(first).take(limit).cloned().collect())
    }

    /// Keeps the present objects for later pages.
    pub(super) fn keep(&mut self, revision: u64) -> Objects {
        if self.pages.back().is_none_or(|(kept, _)| *kept != revision) {
            if self.pages.len() >= PAGES {
                self.pages.pop_front();
            }
            self.pages.push_back((revision, self.objects.clone()));
        }
        self.objects.clone()
    }

    /// The objects at a revision.
    pub(super) fn at(&self, revision: u64, current: u64) -> Option<Objects> {
        let last_change = self.history.back().map_or(self.compacted, |change| change.object.revision);
        if (last_change..=current).contains(&revision) && revision >= self.compacted {
            return Some(self.objects.clone());
        }
        self.pages.iter().find(|(kept, _)| *kept == revision).map(|(_, objects)| objects.clone())
    }

    pub(super) fn compact(&mut self, revision: u64) {
        self.history.clear();
        self.pages.clear();
        self.compacted = revision;
    }

    /// Holds these objects from a revision on, and knows of nothing before.
    pub(super) fn restore(&mut self, objects: Objects, revision: u64) {
        self.objects = objects;
        self.compact(revision);
    }

    pub(super) fn forget_pages(&mut self) {
        self.pages.clear();
    }
}
