//! The task of a connection to an endpoint.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use h2::client::{Connection, ResponseFuture};
use h2::{Ping, PingPong};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::reception::Reception;
use crate::deadline::Deadline;
use crate::exchange::EndpointError;
use crate::http2::outgoing::Chunk;
use crate::http2::paced::{Gate, Paced};

/// Portions that are read before the task lets others run.
const PORTIONS_PER_TURN: usize = 16;

/// Time between two pings without a word from the endpoint. grpc-go closes a connection that is pinged more often
/// (`keepalive.EnforcementPolicy`: `MinTime` of 5 min, three times at most, until it sends something).
const QUIET_PING: Duration = Duration::from_secs(330);

/// What a connection's task shares with those who use the connection.
#[derive(Debug)]
pub(super) struct Shared {
    /// Responses to receive; `None` when the connection is at its end.
    opened: Mutex<Option<Vec<Opened>>>,
    task: AtomicWaker,
    /// Streams that are open.
    pub(super) streams: AtomicUsize,
    /// The most that the endpoint allows.
    pub(super) limit: AtomicUsize,
}

type Opened = (Arc<Reception>, ResponseFuture);

impl Default for Shared {
    fn default() -> Self {
        Self {
            opened: Mutex::new(Some(Vec::new())),
            task: AtomicWaker::new(),
            streams: 0.into(),
            limit: usize::MAX.into(),
        }
    }
}

impl Shared {
    /// Has a response received.
    pub(super) fn receive(&self, reception: &Arc<Reception>, response: ResponseFuture) {
        match &mut *self.opened() {
            Some(opened) => opened.push((Arc::clone(reception), response)),
            None => return reception.fail(EndpointError::Broken),
        }
        self.task.wake();
    }

    fn opened(&self) -> MutexGuard<'_, Option<Vec<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Driver {
    h2: Connection<Paced<TcpStream>, Chunk>,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    receiving: FuturesUnordered<Receiving>,
    signs: SignsOfLife,
}

type Receiving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Driver {
    pub(super) fn new(
        mut h2: Connection<Paced<TcpStream>, Chunk>,
        gate: Arc<Gate>,
        shared: Arc<Shared>,
        ping: Duration,
    ) -> Self {
        let signs = SignsOfLife::new(h2.ping_pong(), ping);
        Self { h2, gate, shared, receiving: FuturesUnordered::new(), signs }
    }

    /// Drives the connection to its end; then every response is, with an error or without.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll_turn(cx)).await;
        let Self { h2, shared, mut receiving, .. } = self;
        let opened = shared.opened().take();
        // The streams learn that nothing more comes.
        drop(h2);
        receiving.extend(opened.into_iter().flatten().map(receive));
        while let Some(()) = receiving.next().await {}
    }

    /// Returns when the connection is at its end.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.task.register(cx.waker());
        for _ in 0..PORTIONS_PER_TURN {
            let ended = Pin::new(&mut self.h2).poll(cx).is_ready();
            self.shared.limit.store(self.h2.max_concurrent_send_streams(), Relaxed);
            if ended {
                return Poll::Ready(());
            }
            if let Some(opened) = self.shared.opened().as_mut() {
                self.receiving.extend(opened.drain(..).map(receive));
            }
            while let Poll::Ready(Some(())) = self.receiving.poll_next_unpin(cx) {}
            if !self.gate.resume() {
                return self.signs.poll(&self.gate, !self.receiving.is_empty(), cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn receive((reception, response): Opened) -> Receiving {
    Box::pin(reception.receive(response))
}

/// Notices an endpoint that is gone without a word: while it owes a response and is silent, it is pinged.
struct SignsOfLife {
    pings: Option<PingPong>,
    ping: Duration,
    deadline: Deadline,
    /// When the endpoint is pinged, or is taken for gone if it has not answered.
    due: Instant,
    sign: Sign,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// No response is due.
    Idle,
    Heard,
    Pinged,
    /// It has answered a ping and said nothing since.
    Quiet,
}

impl SignsOfLife {
    fn new(pings: Option<PingPong>, ping: Duration) -> Self {
        Self { pings, ping, deadline: Deadline::default(), due: Instant::now(), sign: Sign::Idle }
    }

    /// Returns when the endpoint is gone.
    fn poll(&mut self, gate: &Gate, is_owed: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        if !is_owed {
            self.sign = Sign::Idle;
            return Poll::Pending;
        }
        if self.sign == Sign::Pinged && pings.poll_pong(cx).is_ready() {
            gate.take_heard();
            (self.sign, self.due) = (Sign::Quiet, Instant::now() + QUIET_PING.max(self.ping));
        }
        let was_heard = matches!(self.sign, Sign::Idle | Sign::Quiet) && gate.take_heard();
        if was_heard || self.sign == Sign::Idle {
            (self.sign, self.due) = (Sign::Heard, Instant::now() + self.ping);
        }
        while self.deadline.poll(self.due, cx).is_ready() {
            self.due = Instant::now() + self.ping;
            if gate.take_heard() {
                self.sign = Sign::Heard;
            } else if self.sign == Sign::Pinged || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            } else {
                self.sign = Sign::Pinged;
                // It is woken when the answer comes.
                let _ = pings.poll_pong(cx);
            }
        }
        Poll::Pending
    }
}
