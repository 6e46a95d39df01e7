//! Counts of an attack.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Counts while the attack goes on.
#[derive(Debug, Default)]
pub(in super::super) struct Counts {
    opened: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
    failed: AtomicU64,
    streams: AtomicU64,
    streams_ended: AtomicU64,
    last_failure: Mutex<String>,
}

/// Counts at the end of an attack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in super::super) struct Report {
    /// Connections opened, with their handshake where there is one.
    pub(in super::super) opened: u64,
    /// Connections that were open at the same time.
    pub(in super::super) most_open: u64,
    /// Attempts to connect that failed.
    pub(in super::super) failed: u64,
    /// Streams, or requests over HTTP/1.1.
    pub(in super::super) streams: u64,
    /// Streams that ended while their connection went on.
    pub(in super::super) streams_ended: u64,
    /// The last failure of a connection.
    pub(in super::super) last_failure: String,
}

impl Counts {
    /// Counts a connection as open until the result is dropped.
    pub(super) fn open(&self) -> Open<'_> {
        self.opened.fetch_add(1, Relaxed);
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.most_open.fetch_max(open, Relaxed);
        Open(self)
    }

    pub(super) fn failed(&self, how: &str) {
        self.failed.fetch_add(1, Relaxed);
        how.clone_into(&mut self.last_failure.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn streams(&self, count: usize) {
        self.streams.fetch_add(count as u64, Relaxed);
    }

    pub(super) fn stream_ended(&self) {
        self.streams_ended.fetch_add(1, Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Report {
            opened: get(&self.opened),
            most_open: get(&self.most_open),
            failed: get(&self.failed),
            streams: get(&self.streams),
            streams_ended: get(&self.streams_ended),
            last_failure: self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// An open connection.
pub(super) struct Open<'a>(&'a Counts);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
