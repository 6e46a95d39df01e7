//! Backends: what stands where pods would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::{Result, address};

mod reply;
mod seen;
#[cfg(test)]
mod tests;
mod websocket;

pub use seen::Seen;

/// What a backend understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 and nothing else.
    Http1,
    /// HTTP/2 with prior knowledge and nothing else.
    H2c,
}

/// A backend on an address of its own; gone when dropped.
///
/// What it answers is decided by the path:
///
/// | path | answer |
/// |---|---|
/// | `/-/bytes/N` | N bytes |
/// | `/-/parts/N` | N parts of one kilobyte, each one after a [`Backend::permit`] |
/// | `/-/hold` | as usual, after a [`Backend::permit`] |
/// | `/-/slow/N` | as usual, after N milliseconds |
/// | `/-/status/N` | that status |
/// | `/-/echo` | the request's body, as it comes |
/// | `/-/abort` | announces 1,000 bytes, sends 10 and, after a [`Backend::permit`], breaks off |
/// | any other | what was seen of the request, as [`Seen`]; with `Upgrade: websocket`, an echo of messages |
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    speaks: Speaks,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// What the connections of a backend share.
#[derive(Debug)]
struct State {
    name: String,
    requests: AtomicU64,
    connections: AtomicU64,
    waiting: AtomicU64,
    permits: Semaphore,
}

impl Backend {
    /// A backend for HTTP/1.1 on an unused address.
    pub async fn http1(name: &str) -> Result<Self> {
        Self::start_at(address::unused(), name, Speaks::Http1).await
    }

    /// A backend for HTTP/2 with prior knowledge on an unused address.
    pub async fn h2c(name: &str) -> Result<Self> {
        Self::start_at(address::unused(), name, Speaks::H2c).await
    }

    /// A backend on this address.
    pub async fn start_at(address: SocketAddr, name: &str, speaks: Speaks) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let state = Arc::new(State {
            name: name.to_owned(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            permits: Semaphore::new(0),
        });
        let accepting = tokio::spawn(accept(listener, speaks, Arc::clone(&state)));
        Ok(Self { address, speaks, state, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it understands.
    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// How many requests it has had.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many connections it has had.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many requests are waiting for a permit.
    pub fn waiting(&self) -> u64 {
        self.state.waiting.load(Ordering::SeqCst)
    }

    /// Lets this many waiting (or coming) parts and held requests go on.
    pub fn permit(&self, count: usize) {
        self.state.permits.add_permits(count);
    }

    /// Stops as a crashing container does: the address refuses connections, and open ones break. Returns the address.
    pub async fn stop(mut self) -> SocketAddr {
        self.accepting.abort();
        let _cancelled = (&mut self.accepting).await;
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until aborted; the connections end with it.
async fn accept(listener: TcpListener, speaks: Speaks, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                state.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, speaks, Arc::clone(&state)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, speaks: Speaks, state: Arc<State>) {
    // A peer that is gone is noticed when we read or write.
    let _best_effort = stream.set_nodelay(true);
    let service = service_fn(move |request| reply::reply(Arc::clone(&state), request));
    let io = TokioIo::new(stream);
    // A client may break off whenever it likes.
    let _ended = match speaks {
        Speaks::Http1 => http1::Builder::new().serve_connection(io, service).with_upgrades().await,
        Speaks::H2c => {
            http2::Builder::new(TokioExecutor::new()).max_concurrent_streams(1_000).serve_connection(io, service).await
        }
    };
}
