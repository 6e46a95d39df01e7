//! The part of a request body that is kept, so that the request can be sent again.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::ledger::{Account, Kind, Reservation};

/// Bytes that are kept at most. A longer body is sent once.
const MOST: usize = 64 * 1024;

/// A request body as far as it has come, if it can be said again.
#[derive(Debug)]
pub(crate) struct Replay {
    account: Arc<Account>,
    chunks: SmallVec<[Bytes; 2]>,
    kept: usize,
    /// Bytes that came from the client.
    received: u64,
    is_ended: bool,
    /// Chunks came that are not kept.
    is_truncated: bool,
    reservation: Option<Reservation>,
}

impl Replay {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            chunks: SmallVec::new(),
            kept: 0,
            received: 0,
            is_ended: false,
            is_truncated: false,
            reservation: None,
        }
    }

    /// Returns a chunk that is kept.
    pub(super) fn chunk(&self, number: usize) -> Option<Bytes> {
        self.chunks.get(number).cloned()
    }

    /// Takes note of a chunk, and keeps it while nothing is `answered` and there is room for it. Returns `false` if the body is
    /// larger than `limit`.
    pub(super) fn keep(&mut self, data: &Bytes, is_unanswered: bool, limit: Option<u64>) -> bool {
        self.received += data.len() as u64;
        if limit.is_some_and(|limit| self.received > limit) {
            return false;
        }
        if self.is_truncated || !is_unanswered || self.kept + data.len() > MOST || !self.reserve(data.len()) {
            self.forget();
            return true;
        }
        self.kept += data.len();
        self.chunks.push(data.clone());
        true
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        if let Some(reservation) = &mut self.reservation {
            return reservation.try_grow(bytes as u64).is_ok();
        }
        self.reservation = self.account.try_reserve(Kind::Replay, bytes as u64).ok();
        self.reservation.is_some()
    }

    /// Keeps nothing any more: the request cannot be sent again.
    pub(super) fn forget(&mut self) {
        self.is_truncated = self.is_truncated || self.received > 0;
        self.chunks.clear();
        self.is_ended = false;
        self.reservation = None;
    }

    /// The body has ended.
    pub(super) fn end(&mut self) {
        self.is_ended = !self.is_truncated;
    }

    /// Returns `true` if all of the body is kept and its end has come.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Returns `true` if the request can be sent again as far as its body is concerned.
    pub(crate) fn can_repeat(&self) -> bool {
        !self.is_truncated
    }
}
