//! Turns: a number of places that sources share, so that none of them can keep the others waiting.
//!
//! A source may have at most four times what is free: *dynamic thresholds* (Choudhury and Hahne, "Dynamic Queue Length
//! Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking, 1998). One source alone gets four
//! fifths of the places, and the next finds one at once. Who has to wait is let in by how few places its source has, and
//! then in the order of arrival.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

/// What a source may have, as a multiple of what is free.
const SHARE: usize = 4;

/// Places, who has them, and who waits for one.
#[derive(Debug)]
pub(super) struct Turns {
    desk: Mutex<Desk>,
}

/// At rest, nobody waits who may have a place.
#[derive(Debug)]
struct Desk {
    free: usize,
    sources: HashMap<IpAddr, OfSource, RandomState>,
    /// The sources of which somebody waits.
    waiting: BTreeSet<Rank>,
    last_ticket: u64,
}

/// What a source has, and who waits for more, by ticket. Is there while there is either.
#[derive(Debug, Default)]
struct OfSource {
    held: usize,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// In this order sources are served: by the places they have, then by who waits longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    held: usize,
    ticket: u64,
    source: IpAddr,
}

/// A place, or the wait for one; given back on drop.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    source: IpAddr,
    /// Of one that had to wait.
    ticket: Option<u64>,
}

impl Turns {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        let desk = Desk { free: places, sources: HashMap::default(), waiting: BTreeSet::new(), last_ticket: 0 };
        Self { desk: Mutex::new(desk) }
    }

    /// Waits for a place. Dropped, it waits no more.
    pub(super) async fn take(&self, source: IpAddr) -> Turn<'_> {
        let asked = self.desk().ask(source);
        match asked {
            None => Turn { turns: self, source, ticket: None },
            Some((ticket, granted)) => {
                let turn = Turn { turns: self, source, ticket: Some(ticket) };
                // The sender stays until it has sent: `turn` is here to be told.
                let _ = granted.await;
                turn
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.desk().leave(self.source, self.ticket);
    }
}

impl Desk {
    /// Takes a place if there is one for the source; otherwise a ticket, and what says when its turn has come.
    fn ask(&mut self, source: IpAddr) -> Option<(u64, oneshot::Receiver<()>)> {
        let of_source = self.sources.entry(source).or_default();
        if of_source.waiting.is_empty() && is_fair(of_source.held, self.free) {
            of_source.held += 1;
            self.free -= 1;
            return None;
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let (grant, granted) = oneshot::channel();
        self.change(source, |of_source| of_source.waiting.insert(ticket, grant));
        Some((ticket, granted))
    }

    /// Gives a place back, or takes who holds this ticket out of the queue if its turn has not come.
    fn leave(&mut self, source: IpAddr, ticket: Option<u64>) {
        let was_waiting = ticket.is_some_and(|ticket| {
            let left = self.change(source, |of_source| of_source.waiting.remove(&ticket));
            left.is_some()
        });
        if was_waiting {
            return;
        }
        self.change(source, |of_source| of_source.held -= 1);
        self.free += 1;
        while self.serve_next() {}
    }

    /// Lets in who is next, if there is a place for it.
    fn serve_next(&mut self) -> bool {
        let Some(Rank { held, source, .. }) = self.waiting.first().copied() else { return false };
        if !is_fair(held, self.free) {
            return false;
        }
        self.free -= 1;
        let grant = self.change(source, |of_source| {
            of_source.held += 1;
            of_source.waiting.pop_first()
        });
        if let Some((_, grant)) = grant {
            // Who left meanwhile comes by to give the place back: it is not in the queue any more.
            let _ = grant.send(());
        }
        true
    }

    /// Changes what is known of a source, and its rank with it.
    fn change<T>(&mut self, source: IpAddr, change: impl FnOnce(&mut OfSource) -> T) -> T {
        let of_source = self.sources.entry(source).or_default();
        let before = of_source.rank(source);
        let result = change(of_source);
        let after = of_source.rank(source);
        if of_source.held == 0 && after.is_none() {
            self.sources.remove(&source);
        }
        if before != after {
            if let Some(before) = before {
                self.waiting.remove(&before);
            }
            self.waiting.extend(after);
        }
        result
    }
}

impl OfSource {
    /// `None` if nobody waits.
    fn rank(&self, source: IpAddr) -> Option<Rank> {
        self.waiting.first_key_value().map(|(ticket, _)| Rank { held: self.held, ticket: *ticket, source })
    }
}

/// May a source with so many places have one more of those that are free?
fn is_fair(held: usize, free: usize) -> bool {
    held < free.saturating_mul(SHARE)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// As many turns as there are at once.
    fn take_all(turns: &Turns, number: u8) -> Vec<Turn<'_>> {
        std::iter::from_fn(|| turns.take(source(number)).now_or_never()).collect()
    }

    #[test]
    fn one_source_gets_four_fifths_and_the_next_has_its_turn_at_once() {
        let turns = Turns::new(2_048);
        let first = take_all(&turns, 1);
        assert!((1_600..=1_640).contains(&first.len()), "{}", first.len());
        let second = take_all(&turns, 2);
        assert!((300..=340).contains(&second.len()), "{}", second.len());
        assert!(turns.take(source(3)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_becomes_free_in_the_order_of_arrival() {
        let turns = Turns::new(1);
        let first = turns.take(source(1)).await;
        let (second, third) = (turns.take(source(1)), turns.take(source(1)));
        tokio::pin!(second, third);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(first);
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(second.await);
        third.await;
    }

    #[tokio::test]
    async fn a_source_with_fewer_places_goes_before_those_that_wait_longer() {
        let turns = Turns::new(10);
        let mut held = take_all(&turns, 1);
        let (greedy, modest) = (turns.take(source(1)), turns.take(source(2)));
        tokio::pin!(greedy, modest);
        assert!(futures_util::poll!(greedy.as_mut()).is_pending());
        let others: Vec<_> = (3..).map_while(|number| turns.take(source(number)).now_or_never()).collect();
        assert!(!others.is_empty());
        assert!(futures_util::poll!(modest.as_mut()).is_pending());
        held.pop();
        assert!(futures_util::poll!(greedy.as_mut()).is_pending());
        assert!(futures_util::poll!(modest.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn who_gives_up_costs_the_others_no_place() {
        let turns = Turns::new(1);
        for gives_up_late in [false, true] {
            let first = turns.take(source(1)).await;
            let mut waiting = Box::pin(turns.take(source(1)));
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            if gives_up_late {
                // Its turn has come, and it does not know.
                drop(first);
                drop(waiting);
            } else {
                drop(waiting);
                drop(first);
            }
            assert!(turns.take(source(2)).now_or_never().is_some());
        }
        let desk = turns.desk();
        assert!(desk.free == 1 && desk.sources.is_empty() && desk.waiting.is_empty(), "{desk:?}");
    }

    #[test]
    fn nothing_is_lost_or_left_whoever_comes_and_goes() {
        const PLACES: usize = 20;
        let turns = Turns::new(PLACES);
        let mut random = fastrand::Rng::with_seed(7);
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            match random.u8(0..4) {
                0 | 1 => {
                    let mut turn = Box::pin(turns.take(source(random.u8(0..6))));
                    match turn.as_mut().now_or_never() {
                        Some(turn) => held.push(turn),
                        None => waiting.push(turn),
                    }
                }
                2 if !held.is_empty() => drop(held.swap_remove(random.usize(..held.len()))),
                3 if !waiting.is_empty() => drop(waiting.swap_remove(random.usize(..waiting.len()))),
                _ => {}
            }
            let mut still = Vec::new();
            for mut turn in waiting {
                match turn.as_mut().now_or_never() {
                    Some(turn) => held.push(turn),
                    None => still.push(turn),
                }
            }
            waiting = still;
            let desk = turns.desk();
            assert_eq!(desk.free + held.len(), PLACES);
            assert!(desk.waiting.first().is_none_or(|next| !is_fair(next.held, desk.free)));
            assert_eq!(desk.sources.values().map(|of| of.waiting.len()).sum::<usize>(), waiting.len());
        }
        drop((held, waiting));
        let desk = turns.desk();
        assert!(desk.free == PLACES && desk.sources.is_empty() && desk.waiting.is_empty(), "{desk:?}");
    }
}
