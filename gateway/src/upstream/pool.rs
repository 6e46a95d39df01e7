//! The pool of idle connections: a plain list for each endpoint, bounded in all.
//!
//! An endpoint owns its connections, so that they are closed with it. No task waits on an idle connection: whether it is
//! still good is asked when it is taken, and once a second those whose time is over are closed.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use metrics::Gauge;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};

use crate::http1::client::IdleConnection;
use crate::http2::client::{self, Handle, Http2Exchange};

/// Idle connections that are kept in all. More are closed instead of being kept.
const MOST_IDLE: usize = 1_024;

/// HTTP/2 connections to one endpoint. Each carries up to a hundred streams.
const MOST_HTTP2: usize = 16;

/// Endpoints that are tried for a connection to be closed in place of another.
const EVICTION_TRIES: usize = 8;

/// The interval at which connections are looked at whose time may be over.
const SWEEP: Duration = Duration::from_secs(1);

/// Time before the end that an endpoint states for an idle connection: a request takes a moment to arrive.
const BEFORE_END: Duration = Duration::from_secs(1);

/// The longest time for which a connection is kept, whatever an endpoint states.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// A request that must not be sent twice takes no connection that has been idle for longer: its endpoint may be closing it.
const FRESH: Duration = Duration::from_millis(500);

/// Time after which an HTTP/2 connection without streams is closed.
const HTTP2_IDLE: Duration = Duration::from_secs(60);

/// The connections of one endpoint that are not in use.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    http1: Mutex<Vec<Idle>>,
    http2: Mutex<Vec<Shared>>,
    /// Held while an HTTP/2 connection is made, so that those who wait use it too.
    connecting: tokio::sync::Mutex<()>,
    /// The pool that counts the idle ones.
    count: std::sync::OnceLock<Arc<Count>>,
}

#[derive(Debug)]
struct Idle {
    connection: IdleConnection,
    since: Instant,
    until: Instant,
}

#[derive(Debug)]
struct Shared {
    handle: Handle,
    used: Instant,
}

/// Idle connections in all.
#[derive(Debug)]
struct Count {
    idle: AtomicUsize,
    gauge: Gauge,
}

impl Count {
    fn add(&self) -> bool {
        if self.idle.fetch_add(1, Relaxed) >= MOST_IDLE {
            self.idle.fetch_sub(1, Relaxed);
            return false;
        }
        true
    }

    fn sub(&self, connections: usize) {
        self.idle.fetch_sub(connections, Relaxed);
    }
}

/// Idle connections to all endpoints.
#[derive(Debug)]
pub(super) struct Pool {
    idle_timeout: Duration,
    count: Arc<Count>,
    /// Endpoints that have idle connections, or had lately.
    endpoints: Mutex<Vec<Weak<Connections>>>,
}

impl Pool {
    /// Creates an empty pool. In a tokio runtime, a task closes connections whose time is over, until the pool is dropped.
    pub(super) fn new(idle_timeout: Duration) -> Arc<Self> {
        let gauge = metrics::gauge!("postern_upstream_idle_connections");
        let count = Arc::new(Count { idle: AtomicUsize::new(0), gauge });
        let pool = Arc::new(Self { idle_timeout, count, endpoints: Mutex::default() });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweep(Arc::downgrade(&pool)));
        }
        pool
    }

    /// Takes the connection that was used last and is still good.
    pub(super) fn take(&self, endpoint: &Arc<Connections>, may_repeat: bool) -> Option<IdleConnection> {
        let now = Instant::now();
        loop {
            let idle = lock(&endpoint.http1).pop()?;
            self.count.sub(1);
            let is_due = idle.until <= now;
            let is_young = may_repeat || now.duration_since(idle.since) <= FRESH;
            if !is_due && is_young && !idle.connection.is_stale() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection for the next request. Where the pool is full, another one is closed for it: the one that some
    /// endpoint has not used for longest.
    pub(super) fn put(&self, endpoint: &Arc<Connections>, connection: IdleConnection) {
        if !self.count.add() && !self.evict() {
            return;
        }
        let since = Instant::now();
        let stated = connection.keep_alive().map(|stated| stated.saturating_sub(BEFORE_END).min(LONGEST_IDLE));
        let until = since + stated.unwrap_or(self.idle_timeout);
        lock(&endpoint.http1).push(Idle { connection, since, until });
        self.register(endpoint);
    }

    /// Closes a connection of an endpoint that is picked at random; its place in the count is the caller's.
    fn evict(&self) -> bool {
        let endpoints = lock(&self.endpoints);
        for _ in 0..EVICTION_TRIES.min(endpoints.len()) {
            let Some(endpoint) = endpoints[fastrand::usize(..endpoints.len())].upgrade() else { continue };
            let mut idle = lock(&endpoint.http1);
            if !idle.is_empty() {
                idle.remove(0);
                return true;
            }
        }
        false
    }

    /// Opens a stream on a connection that is there, or on a new one.
    pub(super) async fn open_http2<F: Future<Output = io::Result<TcpStream>>>(
        &self,
        endpoint: &Arc<Connections>,
        ping: Duration,
        dial: impl FnOnce() -> F,
    ) -> io::Result<Http2Exchange> {
        if let Some(exchange) = endpoint.open_http2() {
            return Ok(exchange);
        }
        let _connecting = endpoint.connecting.lock().await;
        if let Some(exchange) = endpoint.open_http2() {
            return Ok(exchange);
        }
        let handle = client::connect(dial().await?, ping).await?;
        let exchange = handle.open(false).ok_or(io::ErrorKind::ConnectionAborted)?;
        let mut shared = lock(&endpoint.http2);
        shared.retain(|shared| !shared.handle.is_over());
        if shared.len() < MOST_HTTP2 {
            shared.push(Shared { handle, used: Instant::now() });
        }
        drop(shared);
        self.register(endpoint);
        Ok(exchange)
    }

    /// Has an endpoint looked at by the sweeper.
    fn register(&self, endpoint: &Arc<Connections>) {
        if endpoint.count.set(Arc::clone(&self.count)).is_ok() {
            lock(&self.endpoints).push(Arc::downgrade(endpoint));
        }
    }

    /// Closes connections whose time is over, and forgets endpoints that are gone.
    fn sweep(&self) {
        let endpoints = lock(&self.endpoints).clone();
        let mut has_gone = false;
        for endpoint in endpoints {
            match endpoint.upgrade() {
                Some(endpoint) => endpoint.sweep(&self.count),
                None => has_gone = true,
            }
        }
        if has_gone {
            lock(&self.endpoints).retain(|endpoint| endpoint.strong_count() > 0);
        }
        self.count.gauge.set(self.count.idle.load(Relaxed) as f64);
    }
}

impl Connections {
    fn open_http2(&self) -> Option<Http2Exchange> {
        let mut shared = lock(&self.http2);
        shared.retain(|shared| !shared.handle.is_over());
        let lightest = shared.iter_mut().min_by_key(|shared| shared.handle.streams())?;
        lightest.used = Instant::now();
        lightest.handle.open(true)
    }

    fn sweep(&self, count: &Count) {
        let now = Instant::now();
        let mut http1 = lock(&self.http1);
        let before = http1.len();
        http1.retain(|idle| idle.until > now && !idle.connection.is_stale());
        count.sub(before - http1.len());
        drop(http1);
        let is_used = |shared: &Shared| shared.handle.streams() > 0 || now.duration_since(shared.used) < HTTP2_IDLE;
        lock(&self.http2).retain(|shared| !shared.handle.is_over() && is_used(shared));
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(count) = self.count.get() {
            count.sub(self.http1.get_mut().unwrap_or_else(PoisonError::into_inner).len());
        }
    }
}

async fn sweep(pool: Weak<Pool>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::UpstreamTimeouts;
    use super::*;

    /// A connection whose endpoint has stated this, and the endpoint's end.
    async fn connection(stated: Option<u64>) -> (IdleConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (IdleConnection::new(tcp, stated.map(Duration::from_secs)), listener.accept().await.unwrap().0)
    }

    /// gunicorn closes after 2 s, uvicorn and Hypercorn after 5 s, Node after 6 s and says 5, the JDK after 30 s.
    #[tokio::test]
    async fn a_connection_is_used_as_long_as_its_endpoint_keeps_it_and_less_long_where_nothing_may_be_repeated() {
        let default = UpstreamTimeouts::default().idle;
        assert!(default < Duration::from_secs(2), "{default:?}");
        tokio::time::pause();
        for (stated, idle_for, may_repeat, is_used) in [
            (None, 0, false, true),
            (None, 500, false, true),
            (None, 501, false, false),
            (None, 1_799, true, true),
            (None, 1_800, true, false),
            (Some(5), 3_999, true, true),
            (Some(5), 4_000, true, false),
            (Some(5), 501, false, false),
            (Some(1), 0, true, false),
            (Some(3_600), 59_999, true, true),
            (Some(3_600), 60_000, true, false),
        ] {
            // No timer runs while the sockets are waited for: paused time would go on to it.
            let (idle, _endpoint) = connection(stated).await;
            let (pool, endpoint) = (Pool::new(default), Arc::default());
            pool.put(&endpoint, idle);
            tokio::time::advance(Duration::from_millis(idle_for)).await;
            let name = format!("{stated:?} s, idle for {idle_for} ms, may repeat: {may_repeat}");
            assert_eq!(pool.take(&endpoint, may_repeat).is_some(), is_used, "{name}");
        }
    }
}
