//! Who may connect: connections are counted in total, by source and by handshake, across all listeners.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use ipnet::IpNet;
use tokio::sync::watch;

use super::ListenerName;
use super::figures::{Figures, OfListener, Refused};
use crate::ledger::{Account, Kind, Ledger, Reservation};
use crate::live::Live;
use crate::overload::{self, Pressure};

/// Bytes of a connection over TLS that waits for its next request, the kernel's socket included.
const CONNECTION_MEMORY: u64 = 16 * 1024;

/// Bytes that HTTP/2 adds to a connection: its tables, its write buffer and what of a frame has come.
const HTTP2_MEMORY: u64 = 24 * 1024;

/// Bytes of a TLS handshake at worst: the `ClientHello` as far as it may go, the chain, and what rustls keeps of both.
const HANDSHAKE_MEMORY: u64 = 64 * 1024;

/// Time for which a handshake waits for memory. The deadline of the handshake as a whole comes first by default.
const HANDSHAKE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// How many clients are served at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections on all listeners, or as many as the memory plan has places for if these are fewer. 20,000. Above, a
    /// connection is closed as soon as it is accepted, so that clients and load balancers notice and go elsewhere.
    pub max_connections: usize,
    /// Connections of one source: an IPv4 address, or an IPv6 /64. `None` for a quarter of all: a load balancer or a node
    /// that hides its clients is one source, and still no two of them can take every place. An IPv6 /48, which one
    /// customer of a provider may have (RFC 6177), has at most twice as many in all its /64s. Above, connections are closed
    /// as well.
    pub max_connections_per_source: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 20_000, max_connections_per_source: None }
    }
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are as many connections as there may be.
    #[error("the limit of connections is reached")]
    TooMany,
    /// This source has as many connections as one may have.
    #[error("the limit of connections from one source is reached")]
    TooManyFromSource,
    /// This source holds its share of memory.
    #[error("the source holds its share of memory")]
    SourceMemory,
    /// Memory runs short.
    #[error("memory runs short")]
    Overload,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany => Self::MaxConnections,
            Refusal::TooManyFromSource => Self::MaxConnectionsPerSource,
            Refusal::SourceMemory => Self::SourceMemory,
            Refusal::Overload => Self::Overload,
        }
    }
}

/// Counts connections and handshakes, and says no when there are too many.
#[derive(Debug)]
pub struct Admission {
    limits: Live<Limits>,
    open: watch::Sender<usize>,
    sources: Mutex<Sources>,
    trusted: Live<Vec<IpNet>>,
    pressure: Pressure,
    figures: Figures,
}

impl Admission {
    /// Nobody is connected yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.into(),
            open: watch::Sender::new(0),
            sources: Mutex::default(),
            trusted: Vec::new().into(),
            pressure: Pressure::new(),
            figures: Figures::new(),
        })
    }

    /// What is counted of a listener.
    pub(super) fn figures(&self, listener: ListenerName) -> &OfListener {
        self.figures.of(listener)
    }

    /// How short memory is.
    pub(crate) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Changes how many may connect; those who are connected stay.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Sets the addresses of proxies that stand for many clients: each may hold more memory than a client.
    pub fn set_trusted(&self, ranges: Vec<IpNet>) {
        self.trusted.set(ranges);
    }

    /// Returns the ledger of what clients hold.
    pub fn ledger(&self) -> &Ledger {
        self.pressure.ledger()
    }

    /// How many connections may be open.
    fn max_connections(&self) -> usize {
        self.limits.load().max_connections.min(self.pressure.places())
    }

    /// How many connections of one source may be open. A source among four cannot keep the others out, however few
    /// connections there may be.
    fn max_connections_per_source(&self) -> usize {
        let set = self.limits.load().max_connections_per_source;
        set.unwrap_or_else(|| self.max_connections().div_ceil(4))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Returns when no connection is open. Listeners that still accept may open one right after.
    pub async fn closed(&self) {
        // The sender is `self`: it cannot be gone.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Lets a connection in; it counts until the permit is dropped.
    pub fn admit(self: &Arc<Self>, listener: ListenerName) -> Result<Permit, Refusal> {
        if self.pressure.refuses(listener, overload::Refused::Connection) {
            return Err(Refusal::Overload);
        }
        let admitted = self.open.send_if_modified(|open| {
            let room = *open < self.max_connections();
            *open += usize::from(room);
            room
        });
        if !admitted {
            return Err(Refusal::TooMany);
        }
        self.figures(listener).open.increment(1);
        Ok(Permit { admission: Arc::clone(self), listener, source: None, memory: None, http2: None })
    }

    /// Reserves the memory of a handshake, for as long as a handshake may take; `None` if memory is short by then.
    pub(crate) async fn handshake(&self, listener: ListenerName, account: &Arc<Account>) -> Option<Reservation> {
        let reservation = account.reserve(Kind::Handshake, HANDSHAKE_MEMORY, HANDSHAKE_PATIENCE).await.ok()?;
        (!self.pressure.refuses(listener, overload::Refused::Handshake)).then_some(reservation)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections each source has. Nothing is kept of those that have none.
#[derive(Debug, Default)]
struct Sources {
    each: HashMap<IpAddr, usize, RandomState>,
    /// By the first 48 bits of IPv6 addresses.
    sites: HashMap<u64, usize, RandomState>,
}

impl Sources {
    fn enter(&mut self, source: IpAddr, limit: usize) -> Result<(), Refusal> {
        let site = site_of(source);
        let of_site = site.and_then(|site| self.sites.get(&site)).copied().unwrap_or(0);
        let of_source = self.each.get(&source).copied().unwrap_or(0);
        if of_source >= limit || of_site >= limit.saturating_mul(2) {
            return Err(Refusal::TooManyFromSource);
        }
        self.each.insert(source, of_source + 1);
        if let Some(site) = site {
            self.sites.insert(site, of_site + 1);
        }
        Ok(())
    }

    fn leave(&mut self, source: IpAddr) {
        decrement(&mut self.each, source);
        if let Some(site) = site_of(source) {
            decrement(&mut self.sites, site);
        }
    }
}

fn decrement<K: Eq + Hash>(counts: &mut HashMap<K, usize, RandomState>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// A connection that was let in. Dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    listener: ListenerName,
    source: Option<IpAddr>,
    memory: Option<Reservation>,
    http2: Option<Reservation>,
}

impl Permit {
    /// Counts the connection for the source it comes from, which is known after the PROXY header, and reserves its memory
    /// there. Returns the account of the source.
    pub fn from_source(&mut self, address: IpAddr) -> Result<Arc<Account>, Refusal> {
        let source = source_of(address);
        let is_trusted = self.admission.trusted.load().iter().any(|range| range.contains(&address.to_canonical()));
        let account = self.admission.ledger().account(source, is_trusted);
        let memory = account.try_reserve(Kind::Connection, CONNECTION_MEMORY);
        self.memory = Some(memory.map_err(|_| Refusal::SourceMemory)?);
        let limit = self.admission.max_connections_per_source();
        let mut sources = self.admission.sources();
        sources.enter(source, limit)?;
        if let Some(old) = self.source.replace(source) {
            sources.leave(old);
        }
        Ok(account)
    }

    /// Reserves the memory of HTTP/2; it is given back with the connection's.
    pub(crate) fn speaks_http2(&mut self) -> Result<(), Refusal> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let http2 = memory.account().try_reserve(Kind::Http2, HTTP2_MEMORY);
        self.http2 = Some(http2.map_err(|_| Refusal::SourceMemory)?);
        Ok(())
    }
}

/// The streams of an HTTP/2 connection.
impl Permit {
    /// A stream is served from now on.
    pub(crate) fn stream_opened(&self) {
        self.admission.figures(self.listener).streams.increment(1);
    }

    /// One is not any more.
    pub(crate) fn stream_ended(&self) {
        self.admission.figures(self.listener).streams.decrement(1);
    }

    /// The connection is at its end, and has had at most so many at a time.
    pub(crate) fn most_streams(&self, streams: usize) {
        self.admission.figures(self.listener).most_streams.record(streams as f64);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            self.admission.sources().leave(source);
        }
        self.admission.open.send_modify(|open| *open -= 1);
        self.admission.figures(self.listener).open.decrement(1);
    }
}

/// An IPv6 client has a /64 to choose addresses from (RFC 4291 §2.5.4).
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

/// The /48 of an IPv6 source.
fn site_of(source: IpAddr) -> Option<u64> {
    match source {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 80).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, per_source: usize) -> Arc<Admission> {
        Admission::new(Limits { max_connections: total, max_connections_per_source: Some(per_source) })
    }

    const LISTENER: ListenerName = ListenerName::ExternalHttp;

    #[test]
    fn no_more_connections_than_the_limit_are_let_in() {
        let admission = admission(2, 10);
        let first = admission.admit(LISTENER).unwrap();
        let _second = admission.admit(LISTENER).unwrap();
        assert_eq!(admission.admit(LISTENER).unwrap_err(), Refusal::TooMany);
        drop(first);
        assert!(admission.admit(LISTENER).is_ok());
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let admission = admission(10, 1);
        let mut first = admission.admit(LISTENER).unwrap();
        let mut second = admission.admit(LISTENER).unwrap();
        first.from_source("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(second.from_source("192.0.2.1".parse().unwrap()).unwrap_err(), Refusal::TooManyFromSource);
        second.from_source("192.0.2.2".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_source_has_a_quarter_of_the_connections_unless_it_is_said_how_many() {
        for (all, places, quarter) in [(20_000, usize::MAX, 5_000), (20_000, 1_000, 250), (1, 1_000, 1)] {
            let limits = Limits { max_connections: all, ..Limits::default() };
            let admission = Admission::new(limits);
            admission.pressure().set_places(places);
            assert_eq!(admission.max_connections_per_source(), quarter);
            admission.set_limits(Limits { max_connections_per_source: Some(700), ..limits });
            assert_eq!(admission.max_connections_per_source(), 700);
        }
    }

    #[test]
    fn no_more_are_let_in_than_the_plan_has_places_for() {
        let admission = admission(3, 10);
        admission.pressure().set_places(1);
        let _first = admission.admit(LISTENER).unwrap();
        assert_eq!(admission.admit(LISTENER).unwrap_err(), Refusal::TooMany);
        admission.pressure().set_places(usize::MAX);
        assert!(admission.admit(LISTENER).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|text| source_of(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], source_of("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(source_of("::ffff:192.0.2.1".parse().unwrap()), source_of("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn networks_of_one_ipv6_site_have_twice_as_many_together() {
        let admission = admission(10, 2);
        let from = |address: &str| {
            let mut permit = admission.admit(LISTENER).unwrap();
            permit.from_source(address.parse().unwrap()).map(|_| permit)
        };
        let addresses = ["2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"];
        let mut held: Vec<_> = addresses.iter().map(|address| from(address).unwrap()).collect();
        assert_eq!(from("2001:db8:1:4::1").unwrap_err(), Refusal::TooManyFromSource);
        from("2001:db8:2:1::1").unwrap();
        held.pop();
        from("2001:db8:1:4::1").unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_sources_that_left() {
        let admission = admission(10, 1);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let mut permit = admission.admit(LISTENER).unwrap();
            permit.from_source(address.parse().unwrap()).unwrap();
        }
        let sources = admission.sources();
        assert!(sources.each.is_empty() && sources.sites.is_empty(), "{sources:?}");
        assert_eq!(admission.open(), 0);
    }

    #[tokio::test]
    async fn closed_waits_for_the_last_connection() {
        let admission = admission(10, 10);
        let permit = admission.admit(LISTENER).unwrap();
        let closed = admission.closed();
        tokio::pin!(closed);
        assert!(futures_util::poll!(closed.as_mut()).is_pending());
        drop(permit);
        closed.await;
    }
}
