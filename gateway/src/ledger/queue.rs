//! The queue of those that wait for bytes: a queue for each source, served in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;

use super::{Account, Kind, Reservation};

/// Sources that are asked when bytes are given back. The next time it goes on with those behind them.
const SERVED_AT_ONCE: usize = 16;

/// Sources of which somebody waits, each with its waiters in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    sources: VecDeque<(Arc<Account>, VecDeque<Waiter>)>,
}

/// A reservation that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) grant: oneshot::Sender<Reservation>,
}

impl Queue {
    /// Appends a waiter of a source.
    pub(super) fn push(&mut self, account: &Arc<Account>, waiter: Waiter) {
        account.waiting.fetch_add(1, Relaxed);
        account.ledger().0.waiting.fetch_add(1, Relaxed);
        match self.sources.iter_mut().find(|(known, _)| Arc::ptr_eq(known, account)) {
            Some((_, waiters)) => waiters.push_back(waiter),
            None => self.sources.push_back((Arc::clone(account), VecDeque::from([waiter]))),
        }
    }

    /// Grants what fits. Returns what was granted to waiters that left, and accounts: to be dropped without the lock.
    #[must_use]
    pub(super) fn serve(&mut self) -> Vec<(Option<Reservation>, Option<Arc<Account>>)> {
        let mut unclaimed = Vec::new();
        for _ in 0..self.sources.len().min(SERVED_AT_ONCE) {
            let Some((account, mut waiters)) = self.sources.pop_front() else { break };
            let before = waiters.len();
            while let Some(waiter) = waiters.pop_front() {
                if waiter.grant.is_closed() {
                    continue;
                }
                let Some(reservation) = account.grant(&waiter) else {
                    waiters.push_front(waiter);
                    break;
                };
                if let Err(reservation) = waiter.grant.send(reservation) {
                    unclaimed.push((Some(reservation), None));
                }
            }
            let served = before - waiters.len();
            account.waiting.fetch_sub(served, Relaxed);
            account.ledger().0.waiting.fetch_sub(served, Relaxed);
            if waiters.is_empty() {
                unclaimed.push((None, Some(account)));
            } else {
                self.sources.push_back((account, waiters));
            }
        }
        unclaimed
    }
}
