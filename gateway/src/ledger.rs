//! The ledger: every byte that can wait for a client or an endpoint is reserved here before it is read or allocated.
//!
//! ```text
//!  Ledger ── total (set by the memory plan)
//!    └─ Account, one per source (IPv4 address, IPv6 /64)
//!         └─ Reservation (given back on drop; names its Kind for the metrics)
//! ```
//!
//! A source may hold a quarter of what the other sources leave: *dynamic thresholds* (Choudhury and Hahne, "Dynamic Queue
//! Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking, 1998). One source alone gets a
//! quarter of the total, ten together leave 5 %, and the next one always finds some. At its share a source waits for itself,
//! in a queue of its own.
//!
//! Reserving is two atomic additions and no lock, unless somebody waits.

mod account;
mod kind;
mod queue;
mod stall;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::fast::RandomState;
use metrics::{Counter, counter};

pub use account::{Account, Reservation, Shortage};
pub use kind::Kind;
pub(crate) use kind::describe_metrics;
pub use stall::Stalled;

use queue::Queue;
use stall::Stalls;

/// The part of what the others leave that one source may hold: one in so many.
const SHARE: u64 = 4;

/// The same for a trusted proxy, which stands for many clients: three quarters.
const TRUSTED_SHARE: (u64, u64) = (3, 4);

/// Locks that accounts are spread over.
const SHARDS: usize = 16;

/// Bytes that may be reserved, and who holds how many. All clones are one.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: AtomicU64,
    used: AtomicU64,
    by_kind: [AtomicU64; Kind::ALL.len()],
    accounts: [Mutex<HashMap<IpAddr, Weak<Account>, RandomState>>; SHARDS],
    hasher: RandomState,
    /// Requests that wait for bytes.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    stalls: Stalls,
    refused: [Counter; Kind::ALL.len()],
    waited: Counter,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Ledger {
    /// Creates a ledger of `total` bytes.
    pub fn new(total: u64) -> Self {
        Self(Arc::new(Shared {
            total: AtomicU64::new(total),
            used: AtomicU64::new(0),
            by_kind: Default::default(),
            accounts: Default::default(),
            hasher: RandomState::default(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            stalls: Stalls::default(),
            refused: Kind::ALL.map(|kind| counter!("postern_memory_refused_total", "kind" => kind.as_str())),
            waited: counter!("postern_memory_waited_total"),
        }))
    }

    /// Changes the total. What is reserved stays; while that is more, nothing new is.
    pub fn set_total(&self, bytes: u64) {
        if self.0.total.swap(bytes, Relaxed) < bytes {
            self.0.serve_queue();
        }
    }

    /// Returns the bytes that may be reserved in all.
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Returns the bytes that are reserved.
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// Returns the bytes that are reserved for a kind.
    pub fn used_for(&self, kind: Kind) -> u64 {
        self.0.by_kind[kind as usize].load(Relaxed)
    }

    /// Returns the number of requests that wait for bytes.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Relaxed)
    }

    /// Returns the account of a source, which exists as long as somebody holds it. `is_trusted` gives a new account the share
    /// of a trusted proxy.
    pub fn account(&self, source: IpAddr, is_trusted: bool) -> Arc<Account> {
        use std::hash::BuildHasher;
        let shard = usize::try_from(self.0.hasher.hash_one(source) % SHARDS as u64).unwrap_or_default();
        let mut accounts = self.0.accounts[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(&source).and_then(Weak::upgrade) {
            return account;
        }
        let account = Arc::new(Account::new(self.clone(), source, is_trusted));
        accounts.insert(source, Arc::downgrade(&account));
        account
    }

    /// Forgets an account that nobody holds any more.
    fn forget(&self, source: IpAddr) {
        use std::hash::BuildHasher;
        let shard = usize::try_from(self.0.hasher.hash_one(source) % SHARDS as u64).unwrap_or_default();
        let mut accounts = self.0.accounts[shard].lock().unwrap_or_else(PoisonError::into_inner);
        // A new one may have taken its place.
        if accounts.get(&source).is_some_and(|account| account.strong_count() == 0) {
            accounts.remove(&source);
        }
    }
}

impl Shared {
    /// Returns `true` if a source may hold `own` bytes where all sources together hold `used`, its own included.
    fn fits(&self, own: u64, used: u64, is_trusted: bool) -> bool {
        let left_by_others = self.total.load(Relaxed).saturating_sub(used.saturating_sub(own));
        let share =
            if is_trusted { left_by_others / TRUSTED_SHARE.1 * TRUSTED_SHARE.0 } else { left_by_others / SHARE };
        own <= share
    }

    /// Gives bytes back, and lets in who waits for them.
    fn give_back(&self, kind: Kind, bytes: u64) {
        self.by_kind[kind as usize].fetch_sub(bytes, Relaxed);
        self.used.fetch_sub(bytes, Relaxed);
        if self.waiting.load(Relaxed) > 0 {
            self.serve_queue();
        }
    }

    fn serve_queue(&self) {
        // Reservations of waiters that have left come back here: they are dropped without the lock.
        let unclaimed = self.queue.lock().unwrap_or_else(PoisonError::into_inner).serve();
        drop(unclaimed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::poll;

    use super::*;

    const LIMIT: u64 = 1_600;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_source_gets_a_quarter_and_the_next_a_quarter_of_the_rest() {
        let ledger = Ledger::new(LIMIT);
        let mut left = LIMIT;
        let mut held = Vec::new();
        for last in 0..10 {
            let account = ledger.account(source(last), false);
            let share = left / 4;
            held.push(account.try_reserve(Kind::Request, share).expect("its share"));
            assert!(account.try_reserve(Kind::Request, 8).is_err(), "more than its share");
            left -= share;
        }
        assert_eq!(ledger.used(), LIMIT - left);
        drop(held);
        assert_eq!((ledger.used(), ledger.used_for(Kind::Request)), (0, 0));
    }

    #[test]
    fn a_trusted_proxy_has_three_quarters() {
        let ledger = Ledger::new(LIMIT);
        let proxy = ledger.account(source(1), true);
        let held = proxy.try_reserve(Kind::Request, 1_200).expect("three quarters");
        assert!(proxy.try_reserve(Kind::Request, 4).is_err());
        assert!(ledger.account(source(2), false).try_reserve(Kind::Request, 100).is_ok());
        drop(held);
    }

    #[tokio::test]
    async fn at_its_share_a_source_waits_for_itself_in_order_and_others_do_not() {
        let ledger = Ledger::new(LIMIT);
        let (greedy, modest) = (ledger.account(source(1), false), ledger.account(source(2), false));
        let first = greedy.try_reserve(Kind::Request, 400).expect("its share");
        let mut second = Box::pin(greedy.reserve(Kind::Request, 100, Duration::from_secs(60)));
        let mut third = Box::pin(greedy.reserve(Kind::Request, 300, Duration::from_secs(60)));
        assert!(poll!(second.as_mut()).is_pending() && poll!(third.as_mut()).is_pending());
        assert_eq!(ledger.waiting(), 2);
        drop(modest.try_reserve(Kind::Request, 100).expect("others do not wait"));
        assert!(greedy.try_reserve(Kind::Request, 1).is_err(), "nobody overtakes those who wait");
        drop(first);
        let second = second.await.expect("it was its turn");
        let third = third.await.expect("there was room for both");
        assert_eq!((ledger.used(), ledger.waiting()), (400, 0));
        drop((second, third));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_patience_and_a_dropped_one_takes_nothing() {
        let ledger = Ledger::new(LIMIT);
        let account = ledger.account(source(1), false);
        let held = account.try_reserve(Kind::Request, 400).expect("its share");
        let waited = account.reserve(Kind::Request, 100, Duration::from_secs(5)).await;
        assert_eq!(waited.err(), Some(Shortage::Source));
        let mut dropped = Box::pin(account.reserve(Kind::Request, 100, Duration::from_secs(5)));
        assert!(poll!(dropped.as_mut()).is_pending());
        drop(dropped);
        drop(held);
        assert_eq!((ledger.used(), ledger.waiting()), (0, 0));
    }

    #[test]
    fn an_account_lasts_as_long_as_it_is_held() {
        let ledger = Ledger::new(LIMIT);
        let account = ledger.account(source(1), false);
        let held = account.try_reserve(Kind::Request, 10).expect("room");
        drop(account);
        assert_eq!(ledger.account(source(1), false).held(), 10);
        drop(held);
        let accounts = |ledger: &Ledger| -> usize {
            ledger.0.accounts.iter().map(|shard| shard.lock().expect("not poisoned").len()).sum()
        };
        assert_eq!(accounts(&ledger), 0);
    }

    #[test]
    fn a_reservation_grows_and_shrinks_within_the_share() {
        let ledger = Ledger::new(LIMIT);
        let account = ledger.account(source(1), false);
        let mut held = account.try_reserve(Kind::Request, 100).expect("room");
        assert!(held.try_grow(300).is_ok() && held.try_grow(1).is_err());
        held.shrink_to(50);
        assert_eq!((held.bytes(), ledger.used(), account.held()), (50, 50, 50));
    }
}
