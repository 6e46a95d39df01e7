//! Accounts of sources, and what they have reserved.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::queue::Waiter;
use super::stall::Stalled;
use super::{Kind, Ledger};

/// Reservations of one source that may wait. Each holds a task and a head, which is reserved.
const MOST_WAITING: usize = 1_024;

/// A source that asks for less than this part of the total, and does not get it, does so because others hold it: those that
/// stalled make room.
const SMALL: u64 = 64;

/// Handshakes and connections of one source that may compute at a time, for each processor: one that runs, and one that is
/// next.
const COMPUTING: usize = 2;

/// Processors that the process may use, by the quota of its cgroup as well.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// The account of one source.
#[derive(Debug)]
pub struct Account {
    ledger: Ledger,
    source: IpAddr,
    is_trusted: bool,
    held: AtomicU64,
    pub(super) waiting: AtomicUsize,
    processors: Arc<Semaphore>,
}

/// The reason why bytes cannot be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// The source holds its share of the memory.
    #[error("this client holds its share of the gateway's memory")]
    Source,
    /// Too many of the source wait already.
    #[error("too many requests of this client wait for memory")]
    Crowded,
}

impl Account {
    pub(super) fn new(ledger: Ledger, source: IpAddr, is_trusted: bool) -> Self {
        let processors = Arc::new(Semaphore::new(COMPUTING * *PROCESSORS));
        Self { ledger, source, is_trusted, held: AtomicU64::new(0), waiting: AtomicUsize::new(0), processors }
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the source.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Returns what is held of the source while it computes: by a handshake, and by a connection that has had its turn and has
    /// more to do. The rest of them wait for each other, and not in the way of other sources.
    pub fn processors(&self) -> &Arc<Semaphore> {
        &self.processors
    }

    /// Returns the bytes that the source has reserved.
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Reserves bytes, or refuses to.
    ///
    /// # Errors
    /// [`Shortage::Source`] where the source is at its share, or others of it wait.
    pub fn try_reserve(self: &Arc<Self>, kind: Kind, bytes: u64) -> Result<Reservation, Shortage> {
        if self.waiting.load(Relaxed) == 0 && self.take(kind, bytes) {
            return Ok(Reservation { account: Arc::clone(self), kind, bytes });
        }
        self.ledger.0.refused[kind as usize].increment(1);
        Err(Shortage::Source)
    }

    /// Reserves bytes; waits for them for up to `patience`, after others of this source that wait.
    ///
    /// Dropped, it waits no more.
    ///
    /// # Errors
    /// [`Shortage`] when the time is up, or when too many of the source wait already.
    pub async fn reserve(
        self: &Arc<Self>,
        kind: Kind,
        bytes: u64,
        patience: Duration,
    ) -> Result<Reservation, Shortage> {
        if self.waiting.load(Relaxed) == 0 && self.take(kind, bytes) {
            return Ok(Reservation { account: Arc::clone(self), kind, bytes });
        }
        let refuse = |shortage| {
            self.ledger.0.refused[kind as usize].increment(1);
            Err(shortage)
        };
        let Some(granted) = self.enqueue(kind, bytes) else { return refuse(Shortage::Crowded) };
        match timeout(patience, granted).await {
            Ok(Ok(reservation)) => Ok(reservation),
            _ => refuse(Shortage::Source),
        }
    }

    fn enqueue(self: &Arc<Self>, kind: Kind, bytes: u64) -> Option<oneshot::Receiver<Reservation>> {
        let shared = &self.ledger.0;
        if self.waiting.load(Relaxed) >= MOST_WAITING {
            return None;
        }
        shared.waited.increment(1);
        self.make_room(bytes);
        let (grant, granted) = oneshot::channel();
        let waiter = Waiter { kind, bytes, grant };
        shared.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(self, waiter);
        // What was given back between the attempt and the push woke nobody.
        shared.serve_queue();
        Some(granted)
    }

    /// Cancels what has stalled for longest at the source that holds most, if others are the reason why this one is refused.
    fn make_room(&self, bytes: u64) {
        let shared = &self.ledger.0;
        if self.held() + bytes <= shared.total.load(Relaxed) / SMALL {
            shared.stalls.shed(self.source);
        }
    }

    /// The client of a request under way takes nothing; it is cancelled first when memory is short.
    pub fn stalled(self: &Arc<Self>) -> Stalled {
        self.ledger.0.stalls.enter(self)
    }

    /// Adds bytes to the account and the ledger if they fit.
    pub(super) fn take(&self, kind: Kind, bytes: u64) -> bool {
        let shared = &self.ledger.0;
        let used = shared.used.fetch_add(bytes, Relaxed) + bytes;
        let own = self.held.fetch_add(bytes, Relaxed) + bytes;
        if shared.fits(own, used, self.is_trusted) {
            shared.by_kind[kind as usize].fetch_add(bytes, Relaxed);
            return true;
        }
        self.held.fetch_sub(bytes, Relaxed);
        shared.used.fetch_sub(bytes, Relaxed);
        false
    }

    /// Hands a waiter what it waited for, once it fits.
    pub(super) fn grant(self: &Arc<Self>, waiter: &Waiter) -> Option<Reservation> {
        let Waiter { kind, bytes, .. } = *waiter;
        self.take(kind, bytes).then(|| Reservation { account: Arc::clone(self), kind, bytes })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ledger.forget(self.source);
    }
}

/// Reserved bytes; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    kind: Kind,
    bytes: u64,
}

impl Reservation {
    /// Returns the number of bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the account.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Reserves more bytes of the same kind.
    ///
    /// # Errors
    /// [`Shortage::Source`]; what was reserved before stays.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), Shortage> {
        if self.account.take(self.kind, bytes) {
            self.bytes += bytes;
            return Ok(());
        }
        self.account.ledger.0.refused[self.kind as usize].increment(1);
        Err(Shortage::Source)
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let Some(less) = self.bytes.checked_sub(bytes) else { return };
        self.bytes = bytes;
        self.give_back(less);
    }

    fn give_back(&self, bytes: u64) {
        self.account.held.fetch_sub(bytes, Relaxed);
        self.account.ledger.0.give_back(self.kind, bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
