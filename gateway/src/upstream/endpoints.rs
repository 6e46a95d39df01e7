//! Endpoints: addresses with what was learnt about them, and the choice of one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Connections;

/// After a failed connect an endpoint is passed over for this long, doubled with each failure in a row.
const FIRST_EJECTION: Duration = Duration::from_millis(500);
/// An endpoint is never passed over for longer than this.
const LONGEST_EJECTION: Duration = Duration::from_secs(10);

/// The addresses of a cluster, with what is known of each.
#[derive(Debug, Default)]
pub struct EndpointList {
    addresses: Arc<[SocketAddr]>,
    states: Box<[Arc<EndpointState>]>,
}

/// What is known of an endpoint from using it.
#[derive(Debug, Default)]
pub struct EndpointState {
    in_flight: AtomicU32,
    failures: AtomicU32,
    /// Milliseconds of [`clock`] until which others are preferred.
    ejected_until: AtomicU64,
    idle: Arc<Connections>,
}

impl EndpointState {
    /// Returns `true` while others are preferred. Reads the clock only after a failure.
    fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && until > clock()
    }
}

/// An endpoint that was chosen; counts as a request in flight until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<EndpointState>,
}

impl EndpointList {
    /// A list about which nothing is known yet.
    pub fn new(addresses: Arc<[SocketAddr]>) -> Self {
        let states = addresses.iter().map(|_| Arc::default()).collect();
        Self { addresses, states }
    }

    /// The addresses.
    pub fn addresses(&self) -> &Arc<[SocketAddr]> {
        &self.addresses
    }

    /// A list of other addresses; those that are in both keep what is known of them.
    pub(super) fn with_addresses(&self, addresses: Arc<[SocketAddr]>) -> Self {
        let carry = |address: &SocketAddr| {
            let at = self.addresses.iter().position(|known| known == address);
            at.map_or_else(Arc::default, |at| Arc::clone(&self.states[at]))
        };
        let states = addresses.iter().map(carry).collect();
        Self { addresses, states }
    }

    /// Chooses the endpoint with fewer requests in flight of two random ones that were not tried.
    ///
    /// Those that refused lately are passed over, unless there is no other. `None` when all were tried.
    pub fn choose(&self, tried: &[SocketAddr]) -> Option<Endpoint> {
        if self.addresses.is_empty() {
            return None;
        }
        let states = &self.states;
        let untried = |at: &usize| !tried.contains(&self.addresses[*at]);
        let healthy = |at: &usize| untried(at) && !states[*at].is_ejected();
        let at = self.lighter_of_two(states, healthy).or_else(|| self.lighter_of_two(states, untried))?;
        states[at].in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Endpoint { address: self.addresses[at], state: Arc::clone(&states[at]) })
    }

    fn lighter_of_two(&self, states: &[Arc<EndpointState>], eligible: impl Fn(&usize) -> bool) -> Option<usize> {
        let first = self.any(&eligible)?;
        let second = self.any(&eligible)?;
        let load = |at: usize| states[at].in_flight.load(Ordering::Relaxed);
        Some(if load(second) < load(first) { second } else { first })
    }

    /// An eligible endpoint: a random one, or the next after it that is.
    fn any(&self, eligible: impl Fn(&usize) -> bool) -> Option<usize> {
        let count = self.addresses.len();
        let start = if count == 1 { 0 } else { fastrand::usize(..count) };
        (start..count).chain(0..start).find(eligible)
    }
}

impl Endpoint {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its connections that are not in use.
    pub(super) fn idle(&self) -> &Arc<Connections> {
        &self.state.idle
    }

    /// A connection came about: the endpoint is healthy.
    pub fn connected(&self) {
        if self.state.failures.load(Ordering::Relaxed) != 0 {
            self.state.failures.store(0, Ordering::Relaxed);
            self.state.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    /// No connection came about: others are preferred for a while.
    pub fn connect_failed(&self) {
        let failures = self.state.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let ejection = (FIRST_EJECTION * 2_u32.pow(failures)).min(LONGEST_EJECTION);
        let until = clock() + u64::try_from(ejection.as_millis()).unwrap_or(u64::MAX);
        self.state.ejected_until.store(until, Ordering::Relaxed);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Milliseconds since the first call; turnable in tests, as it is tokio's clock.
pub(super) fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> Arc<[SocketAddr]> {
        ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn an_empty_list_offers_nothing() {
        assert!(EndpointList::default().choose(&[]).is_none());
    }

    #[test]
    fn every_endpoint_is_offered_once_until_all_were_tried() {
        let list = EndpointList::new(addresses(&[1, 2, 3]));
        let mut tried = Vec::new();
        while let Some(endpoint) = list.choose(&tried) {
            assert!(!tried.contains(&endpoint.address()));
            tried.push(endpoint.address());
        }
        assert_eq!(tried.len(), 3);
    }

    #[test]
    fn requests_spread_by_how_many_are_in_flight() {
        let list = EndpointList::new(addresses(&[1, 2]));
        let held: Vec<_> = (0..200).filter_map(|_| list.choose(&[])).collect();
        let first = held.iter().filter(|endpoint| endpoint.address().port() == 1).count();
        assert!((80..=120).contains(&first), "{first} of 200 went to the first of two endpoints");
    }

    #[test]
    fn an_endpoint_that_refused_is_passed_over_while_there_is_another() {
        let list = EndpointList::new(addresses(&[1, 2]));
        list.choose(&addresses(&[2])).expect("the first is there").connect_failed();
        for _ in 0..50 {
            assert_eq!(list.choose(&[]).expect("the second is healthy").address().port(), 2);
        }
        assert_eq!(list.choose(&addresses(&[2])).expect("better than none").address().port(), 1);
    }

    #[test]
    fn endpoints_that_stay_keep_their_counters_when_the_list_changes() {
        let list = EndpointList::new(addresses(&[1]));
        let held: Vec<_> = (0..10).filter_map(|_| list.choose(&[])).collect();
        let list = list.with_addresses(addresses(&[1, 2]));
        let of_new = (0..10).map(|_| list.choose(&[]).map(|endpoint| endpoint.address().port()));
        assert!(of_new.filter(|port| *port == Some(2)).count() > 1, "the idle one is preferred");
        drop(held);
        assert_eq!(list.states[0].in_flight.load(Ordering::Relaxed), 0);
    }
}
