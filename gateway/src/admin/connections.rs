//! Who is connected to a listener of the process itself: who has been silent for longest makes room.
//!
//! Nobody is turned away, as it may be the kubelet who asks whether the process lives; and the connections that a source has
//! make room for one another before others have to.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Unit, counter, describe_counter};
use tokio::sync::Notify;

use crate::listener::ListenerName;

/// Connections at the same time on a listener.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Connections of one source among them, where others come from elsewhere: a scraper keeps one or two open.
const MAX_OF_SOURCE: usize = 8;

/// The connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    max_of_source: usize,
    desk: Mutex<Desk>,
    displaced: Counter,
}

#[derive(Debug, Default)]
struct Desk {
    open: Vec<Open>,
    /// Counts what happens, which orders it.
    time: u64,
}

#[derive(Debug)]
struct Open {
    /// When it came, which is when no other did.
    id: u64,
    source: IpAddr,
    /// When it last asked for something.
    active: u64,
    displaced: Arc<Notify>,
}

/// The place of a connection; given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    displaced: Arc<Notify>,
}

impl Connections {
    /// Of this listener. All connections to the admin listener come from this host, and are those of operators.
    pub(super) fn new(listener: ListenerName) -> Arc<Self> {
        let max_of_source = if listener == ListenerName::Admin { MAX_CONNECTIONS } else { MAX_OF_SOURCE };
        let displaced = counter!("postern_admin_displaced_connections_total", "listener" => listener.as_str());
        Arc::new(Self { max_of_source, desk: Mutex::default(), displaced })
    }

    /// A connection from this source has come; another may have to go.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Seat {
        let mut desk = self.desk();
        if let Some(at) = desk.to_displace(source, self.max_of_source) {
            desk.open.swap_remove(at).displaced.notify_one();
            self.displaced.increment(1);
        }
        let (id, displaced) = (desk.tick(), Arc::new(Notify::new()));
        desk.open.push(Open { id, source, active: id, displaced: Arc::clone(&displaced) });
        drop(desk);
        Seat { connections: Arc::clone(self), id, displaced }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// Which connection has to go for one from this source: of those of the source if it has all it may have; if there are as
    /// many as there may be, of those of the source that has most.
    fn to_displace(&self, source: IpAddr, max_of_source: usize) -> Option<usize> {
        let count = |source: IpAddr| self.open.iter().filter(|open| open.source == source).count();
        let source = if count(source) >= max_of_source {
            source
        } else if self.open.len() >= MAX_CONNECTIONS {
            self.open.iter().map(|open| open.source).max_by_key(|source| count(*source))?
        } else {
            return None;
        };
        let of_source = self.open.iter().enumerate().filter(|(_, open)| open.source == source);
        of_source.min_by_key(|(_, open)| open.active).map(|(at, _)| at)
    }
}

impl Seat {
    /// The connection asks for something.
    pub(super) fn touch(&self) {
        let mut desk = self.connections.desk();
        let now = desk.tick();
        if let Some(open) = desk.open.iter_mut().find(|open| open.id == self.id) {
            open.active = now;
        }
    }

    /// Returns when the connection has to go.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.desk().open.retain(|open| open.id != self.id);
    }
}

/// Describes the metrics of this module to the recorder.
pub(super) fn describe_metrics() {
    describe_counter!(
        "postern_admin_displaced_connections_total",
        Unit::Count,
        "Connections to the metrics and admin listeners that made room for others, by listener."
    );
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source(number: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, u8::try_from(number).expect("there are few")])
    }

    fn is_displaced(seat: &Seat) -> bool {
        seat.displaced().now_or_never().is_some()
    }

    #[test]
    fn of_a_source_that_has_all_it_may_the_longest_silent_goes() {
        let connections = Connections::new(ListenerName::Metrics);
        let other = connections.enter(source(2));
        let seats: Vec<_> = (0..MAX_OF_SOURCE).map(|_| connections.enter(source(1))).collect();
        seats[0].touch();
        let _one_more = connections.enter(source(1));
        assert_eq!(seats.iter().position(is_displaced), Some(1));
        assert!(!is_displaced(&other));
    }

    #[test]
    fn who_has_one_connection_keeps_it_however_many_sources_fill_the_rest() {
        let connections = Connections::new(ListenerName::Metrics);
        let kubelet = connections.enter(source(0));
        let mut seats = Vec::new();
        for round in 0..100 {
            seats.extend((1..20).map(|number| connections.enter(source(number))));
            assert!(!is_displaced(&kubelet), "{round}");
            assert!(connections.desk().open.len() <= MAX_CONNECTIONS);
            seats.retain(|seat| !is_displaced(seat));
        }
    }

    #[test]
    fn operators_may_have_all_places_of_the_admin_listener() {
        let connections = Connections::new(ListenerName::Admin);
        let seats: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connections.enter(source(1))).collect();
        assert!(!seats.iter().any(is_displaced));
        let _one_more = connections.enter(source(1));
        assert_eq!(seats.iter().filter(|seat| is_displaced(seat)).count(), 1);
    }

    #[test]
    fn nothing_is_kept_of_connections_that_ended() {
        let connections = Connections::new(ListenerName::Metrics);
        drop((0..100).map(|_| connections.enter(source(1))).collect::<Vec<_>>());
        assert!(connections.desk().open.is_empty());
    }
}
