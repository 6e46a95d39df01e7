//! Fairness: a client that asks for many names in turn does not keep others waiting.
//!
//! Three things are scarce for certificates that are not cached: loads in a second, loads at a time, and places to wait.
//! Of each, a client may have at most four times what is free: *dynamic thresholds* (Choudhury and Hahne, "Dynamic
//! Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking, 1998). One client alone
//! gets four fifths; with ten of them there is still a fortieth left for the next, who finds it at once.
//!
//! What was loaded in the last second is forgotten exponentially, for each client and in all. Clients are numbers in a
//! table of fixed size; two that meet in one slot are treated as one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who asks: equal for what is to be treated as one client, such as all addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey(pub u64);

/// What a client may have of anything, as a multiple of what is free.
const SHARE: f64 = 4.0;
/// 24 bytes each.
const SLOTS: usize = 4096;
/// In which loads count as recent, in seconds.
const RECENT: f64 = 1.0;

/// The pause before who waits asks again: this, and a little for each that waits, so that all together take little time.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_EACH: Duration = Duration::from_micros(50);

/// Decides who may load.
#[derive(Debug)]
pub(crate) struct Gate {
    table: Mutex<Table>,
    /// Loads in a second.
    rate: AtomicU64,
    /// Loads at a time.
    places: f64,
    /// Clients that may wait.
    waiting_limit: f64,
}

#[derive(Debug)]
struct Table {
    slots: Box<[Slot]>,
    all: Slot,
    started: Instant,
}

/// What a client has, or all have.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Loads lately, as of `at`.
    recent: f64,
    /// Milliseconds since the table was made.
    at: u32,
    loading: u32,
    waiting: u32,
}

/// What asking came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Load, and hold this meanwhile.
    Go(Turn),
    /// Ask again after [`Place::pause`].
    Wait(Place),
    /// Too many wait.
    Refused,
}

impl Gate {
    /// At most so many loads in a second and at a time; at most so many clients wait.
    pub(crate) fn new(rate: u64, places: usize, waiting_limit: usize) -> Arc<Self> {
        let slots = vec![Slot::default(); SLOTS].into_boxed_slice();
        let table = Mutex::new(Table { slots, all: Slot::default(), started: Instant::now() });
        Arc::new(Self { table, rate: AtomicU64::new(rate), places: places as f64, waiting_limit: waiting_limit as f64 })
    }

    pub(crate) fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Relaxed);
    }

    /// A client wants to load something. Who has a place already keeps it until it is dropped.
    pub(crate) fn ask(self: &Arc<Self>, client: ClientKey, place: Option<Place>) -> Answer {
        let slot = slot_of(client);
        let mut table = self.table();
        let now = table.now();
        let (of_client, all) = table.fade(slot, now);
        let rate_left = self.capacity() - all.recent;
        let may_load = is_fair(of_client.recent, rate_left) && rate_left >= 1.0;
        let has_place =
            of_client.loading == 0 || is_fair(f64::from(of_client.loading), self.places - f64::from(all.loading));
        if may_load && has_place {
            table.each(slot, |entry| {
                entry.recent += 1.0;
                entry.loading += 1;
            });
            // Who gives a place back takes the lock.
            drop(table);
            drop(place);
            return Answer::Go(Turn { gate: Arc::clone(self), slot });
        }
        if let Some(place) = place {
            return Answer::Wait(place);
        }
        if !is_fair(f64::from(of_client.waiting), self.waiting_limit - f64::from(all.waiting)) {
            return Answer::Refused;
        }
        table.each(slot, |entry| entry.waiting += 1);
        Answer::Wait(Place { gate: Arc::clone(self), slot })
    }

    /// Recent loads that there may be. Each must leave room for the next before it is forgotten altogether, hence one more.
    fn capacity(&self) -> f64 {
        match self.rate.load(Relaxed) {
            0 => 0.0,
            rate => rate as f64 * RECENT + 1.0,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// May who has `mine` take one more of what is free?
fn is_fair(mine: f64, free: f64) -> bool {
    mine + 1.0 <= free * SHARE
}

fn slot_of(client: ClientKey) -> usize {
    usize::try_from(client.0 % SLOTS as u64).expect("there are fewer slots than that")
}

impl Table {
    fn now(&self) -> u32 {
        // At its end, after 49 days, the clock begins anew.
        u32::try_from(self.started.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// Brings a slot and the sum up to date.
    fn fade(&mut self, slot: usize, now: u32) -> (Slot, Slot) {
        if now == u32::MAX {
            self.started = Instant::now();
            for slot in self.slots.iter_mut().chain([&mut self.all]) {
                *slot = Slot { recent: 0.0, at: 0, ..*slot };
            }
            return self.fade(slot, 0);
        }
        self.slots[slot].fade(now);
        self.all.fade(now);
        (self.slots[slot], self.all)
    }

    fn each(&mut self, slot: usize, mut change: impl FnMut(&mut Slot)) {
        change(&mut self.slots[slot]);
        change(&mut self.all);
    }
}

impl Slot {
    fn fade(&mut self, now: u32) {
        let seconds = f64::from(now.saturating_sub(self.at)) / 1000.0;
        self.recent *= (-seconds / RECENT).exp();
        self.at = now;
    }
}

/// A load under way; given back on drop.
#[derive(Debug)]
pub(crate) struct Turn {
    gate: Arc<Gate>,
    slot: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gate.table().each(self.slot, |entry| entry.loading = entry.loading.saturating_sub(1));
    }
}

/// A place to wait in; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    slot: usize,
}

impl Place {
    /// How long to wait before asking again. Who has waited for long asks more often.
    pub(crate) fn pause(&self, waited: Duration, at_most: Duration) -> Duration {
        let waiting = self.gate.table().all.waiting;
        let pause = PAUSE + PAUSE_EACH * waiting;
        let impatience = (waited.as_secs_f64() / at_most.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0);
        pause.mul_f64((1.0 - 0.75 * impatience) * (0.75 + fastrand::f64() / 2.0))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.table().each(self.slot, |entry| entry.waiting = entry.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(gate: &Arc<Gate>, client: u64) -> Option<Turn> {
        match gate.ask(ClientKey(client), None) {
            Answer::Go(turn) => Some(turn),
            Answer::Wait(_) | Answer::Refused => None,
        }
    }

    /// How many loads that end at once the client gets now.
    fn burst(gate: &Arc<Gate>, client: u64) -> usize {
        (0..100_000).take_while(|_| goes(gate, client).is_some()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_gets_four_fifths_of_the_rate_and_the_next_goes_at_once() {
        let gate = Gate::new(1000, 64, 1000);
        let first = burst(&gate, 1);
        assert!((790..=801).contains(&first), "{first}");
        let second = burst(&gate, 2);
        assert!((155..=165).contains(&second), "{second}");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(burst(&gate, 1) > 790);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_rate_is_never_more_than_what_is_set() {
        let gate = Gate::new(500, 64, 1000);
        let mut loads = 0;
        for client in (0..50).cycle().take(1000) {
            tokio::time::advance(Duration::from_millis(10)).await;
            loads += burst(&gate, client);
        }
        // In ten seconds, with what may be saved up in one.
        assert!((4000..=5600).contains(&loads), "{loads}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_rate_is_still_one_load_after_the_other() {
        let gate = Gate::new(1, 64, 1000);
        burst(&gate, 1);
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(burst(&gate, 1), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_left_for_who_has_none() {
        let gate = Gate::new(1_000_000, 10, 1000);
        let first: Vec<_> = (0..100).map_while(|_| goes(&gate, 1)).collect();
        assert_eq!(first.len(), 8);
        let second: Vec<_> = (0..100).map_while(|_| goes(&gate, 2)).collect();
        assert!(!second.is_empty());
        // Also where none is free: it is the source of Secrets that they queue for then.
        let others: Vec<_> = (3..20).filter_map(|client| goes(&gate, client)).collect();
        assert_eq!(others.len(), 17);
        drop((first, second, others));
        assert_eq!((0..100).map_while(|_| goes(&gate, 1)).collect::<Vec<_>>().len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_fair_as_well_and_bounded() {
        let gate = Gate::new(0, 10, 100);
        let wait = |client| match gate.ask(ClientKey(client), None) {
            Answer::Wait(place) => Some(place),
            Answer::Go(_) | Answer::Refused => None,
        };
        let first: Vec<_> = (0..1000).map_while(|_| wait(1)).collect();
        assert_eq!(first.len(), 80);
        assert!(wait(2).is_some());
        drop(first);
        assert!(wait(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_at_its_end_begins_anew() {
        let gate = Gate::new(10, 64, 100);
        assert!(burst(&gate, 1) > 0);
        tokio::time::advance(Duration::from_secs(50 * 86_400)).await;
        assert_eq!(burst(&gate, 1), 9);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(burst(&gate, 1), 9);
    }
}
