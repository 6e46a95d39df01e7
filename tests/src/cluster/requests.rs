//! The log of what clients asked for.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kind::Kind;
use super::request::{ApiRequest, Shape, Verb};

/// How many requests are remembered one by one; the counters go on.
const REMEMBERED: usize = 65_536;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Logged {
    /// What was asked for.
    pub request: ApiRequest,
    /// Who asked.
    pub user: String,
}

impl Deref for Logged {
    type Target = ApiRequest;

    fn deref(&self) -> &ApiRequest {
        &self.request
    }
}

/// What clients asked for, whatever they were answered.
#[derive(Debug, Default)]
pub struct Requests {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<(Verb, Kind, Shape), u64>,
    recent: VecDeque<Logged>,
}

impl Requests {
    pub(super) fn record(&self, request: &ApiRequest, user: &str) {
        let mut inner = self.lock();
        *inner.counts.entry((request.verb, request.kind, request.shape)).or_default() += 1;
        if inner.recent.len() >= REMEMBERED {
            inner.recent.pop_front();
        }
        inner.recent.push_back(Logged { request: request.clone(), user: user.to_owned() });
    }

    /// How many requests there were with this verb about this kind.
    pub fn count(&self, verb: Verb, kind: Kind) -> u64 {
        self.count_shape(verb, kind, Shape::Full) + self.count_shape(verb, kind, Shape::Metadata)
    }

    /// [`Self::count`], of those that wanted this form.
    pub fn count_shape(&self, verb: Verb, kind: Kind, shape: Shape) -> u64 {
        self.lock().counts.get(&(verb, kind, shape)).copied().unwrap_or_default()
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.lock().counts.values().sum()
    }

    /// Every counter that isn't zero.
    pub fn counts(&self) -> Vec<(Verb, Kind, Shape, u64)> {
        self.lock().counts.iter().map(|(&(verb, kind, shape), &count)| (verb, kind, shape, count)).collect()
    }

    /// The recent ones, oldest first.
    pub fn recent(&self) -> Vec<Logged> {
        self.lock().recent.iter().cloned().collect()
    }

    /// Starts at zero again.
    pub fn reset(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
