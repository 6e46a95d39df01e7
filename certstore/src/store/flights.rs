//! Loads under way: at most one for each Secret, whoever asked for it.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Outcome;
use crate::secret::SecretRef;

/// Why a Secret is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A handshake waits for it.
    Miss,
    /// It is cached and has changed.
    Reload,
}

/// One load under way.
pub(super) struct Flight {
    id: u64,
    purpose: Purpose,
    /// Changes that were reported since it began: what it reads may be older than the last of them.
    changes: u64,
    outcome: watch::Sender<Option<Outcome>>,
    task: Option<AbortHandle>,
}

impl Flight {
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Does a handshake wait for it?
    pub(super) fn is_awaited(&self) -> bool {
        self.outcome.receiver_count() > 0
    }

    /// Answers all who wait.
    pub(super) fn deliver(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

/// The table of loads under way.
#[derive(Default)]
pub(super) struct Flights {
    table: HashMap<SecretRef, Flight, foldhash::fast::RandomState>,
    reloads: usize,
    next_id: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn reloads(&self) -> usize {
        self.reloads
    }

    /// Waits for the load of `secret` with the others, if there is one.
    pub(super) fn subscribe(&self, secret: &SecretRef) -> Option<watch::Receiver<Option<Outcome>>> {
        self.table.get(secret).map(|flight| flight.outcome.subscribe())
    }

    /// Enters a new flight for a Secret that has none, and returns its id.
    pub(super) fn open(&mut self, secret: &SecretRef, purpose: Purpose) -> (u64, watch::Receiver<Option<Outcome>>) {
        self.next_id += 1;
        let (outcome, waiting) = watch::channel(None);
        let flight = Flight { id: self.next_id, purpose, changes: 0, outcome, task: None };
        self.reloads += usize::from(purpose == Purpose::Reload);
        self.table.insert(secret.clone(), flight);
        (self.next_id, waiting)
    }

    pub(super) fn set_task(&mut self, secret: &SecretRef, task: AbortHandle) {
        if let Some(flight) = self.table.get_mut(secret) {
            flight.task = Some(task);
        }
    }

    /// Notes that the Secret has changed; false when no load of it is under way.
    pub(super) fn changed(&mut self, secret: &SecretRef) -> bool {
        let flight = self.table.get_mut(secret);
        flight.map(|flight| flight.changes += 1).is_some()
    }

    /// The flight with this id, unless it was cancelled.
    pub(super) fn get(&self, secret: &SecretRef, id: u64) -> Option<&Flight> {
        self.table.get(secret).filter(|flight| flight.id == id)
    }

    /// Takes the flight with this id off the table, unless it was cancelled.
    pub(super) fn close(&mut self, secret: &SecretRef, id: u64) -> Option<Flight> {
        self.get(secret, id)?;
        self.take(secret)
    }

    /// Takes the flight of `secret` off the table and ends its task; a result that it has already is not taken any more.
    pub(super) fn cancel(&mut self, secret: &SecretRef) -> Option<Flight> {
        let mut flight = self.take(secret)?;
        if let Some(task) = flight.task.take() {
            task.abort();
        }
        Some(flight)
    }

    pub(super) fn cancel_all(&mut self) {
        for task in self.table.drain().filter_map(|(_, flight)| flight.task) {
            task.abort();
        }
        self.reloads = 0;
    }

    fn take(&mut self, secret: &SecretRef) -> Option<Flight> {
        let flight = self.table.remove(secret)?;
        self.reloads -= usize::from(flight.purpose == Purpose::Reload);
        Some(flight)
    }
}
