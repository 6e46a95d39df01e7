//! Requests whose clients take nothing: cancelled first when others need the memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use metrics::counter;

use super::Account;

/// Stalled requests that are looked at for the greediest source; those that stalled first come first.
const LOOKED_AT: usize = 4_096;

/// Requests whose clients take nothing, in the order in which they stalled.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    entries: Mutex<BTreeMap<u64, Entry>>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    call: Arc<Call>,
}

#[derive(Debug, Default)]
struct Call {
    is_cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// A request whose client takes nothing, until dropped.
#[derive(Debug)]
pub struct Stalled {
    account: Arc<Account>,
    number: u64,
    call: Arc<Call>,
}

impl Stalls {
    pub(super) fn enter(&self, account: &Arc<Account>) -> Stalled {
        let number = self.numbers.fetch_add(1, Relaxed);
        let call = Arc::new(Call::default());
        let entry = Entry { account: Arc::clone(account), call: Arc::clone(&call) };
        self.lock().insert(number, entry);
        Stalled { account: Arc::clone(account), number, call }
    }

    /// Cancels the request that stalled first of the source that holds most; not one of `source` itself.
    pub(super) fn shed(&self, source: IpAddr) {
        let mut entries = self.lock();
        let others = entries.iter().take(LOOKED_AT).filter(|(_, entry)| entry.account.source() != source);
        let Some((number, _)) = others.max_by_key(|(number, entry)| (entry.account.held(), u64::MAX - **number)) else {
            return;
        };
        let number = *number;
        let Some(entry) = entries.remove(&number) else { return };
        drop(entries);
        entry.call.is_cancelled.store(true, Relaxed);
        entry.call.waker.wake();
        counter!("postern_memory_shed_total").increment(1);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stalled {
    /// Returns `true` if the request is to be cancelled; the task is woken when it is.
    pub fn is_cancelled(&self, cx: &Context<'_>) -> bool {
        self.call.waker.register(cx.waker());
        self.call.is_cancelled.load(Relaxed)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        let entry = self.account.ledger().0.stalls.lock().remove(&self.number);
        // An account may end with it, which takes another lock.
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use crate::ledger::{Kind, Ledger};

    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_stalled_first_at_the_source_that_holds_most_is_cancelled() {
        let ledger = Ledger::new(10_000);
        let [modest, greedy, asking] = [1, 2, 3].map(|last| ledger.account(source(last), false));
        let held = (modest.try_reserve(Kind::Request, 10), greedy.try_reserve(Kind::Request, 100));
        let stalled = [modest.stalled(), greedy.stalled(), greedy.stalled(), asking.stalled()];
        let cancelled = || stalled.each_ref().map(|stalled| stalled.is_cancelled(&Context::from_waker(Waker::noop())));
        ledger.0.stalls.shed(asking.source());
        assert_eq!(cancelled(), [false, true, false, false]);
        ledger.0.stalls.shed(asking.source());
        ledger.0.stalls.shed(asking.source());
        ledger.0.stalls.shed(asking.source());
        assert_eq!(cancelled(), [true, true, true, false], "never the one that asks");
        drop(held);
    }
}
