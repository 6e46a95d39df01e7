//! Connections of clients: one task serves a connection with all its streams.

use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::Request;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

use super::frame::FrameWatch;
use super::outgoing::Chunk;
use super::paced::{Gate, Paced};
use super::patience::Patience;
use super::request::{self, MalformedHead};
use super::stream::{RequestBody, ServerStream};
use crate::allocator;
use crate::connection::{Closed, Connection, Http2Settings, Settings, Watches, Wire};
use crate::deadline::Deadline;
use crate::drain::Phase;
use crate::exchange::Handler;
use crate::ledger::Account;
use crate::listener::Permit;
use crate::live::Live;
use crate::message::RequestHead;

/// How long a connection without streams stays after GOAWAY; a client that is there closes it within a round trip.
const GOAWAY_LINGER: Duration = Duration::from_secs(5);

/// Streams that are polled, and portions that are read, before the task lets others run: many streams on one connection get no
/// more of the processor than one stream on each of many. With 16, a hundred connections with a hundred streams each kept a
/// visitor waiting for 90 ms.
const STREAMS_PER_TURN: u32 = 2;

type H2 = h2::server::Connection<Paced<Wire>, Chunk>;

/// Serves the streams of a connection until it is closed.
pub(crate) async fn serve<H: Handler>(
    wire: Wire,
    connection: Connection,
    handler: &H,
    permit: &Permit,
    settings: &Live<Settings>,
    watches: &Watches,
) {
    let settings = &*Arc::clone(&settings.load());
    let number = usize::try_from(wire.as_raw_fd()).unwrap_or_default();
    let gate = Arc::new(Gate::default());
    let patience = Patience::new(settings.write_stall_timeout, watches.pressure.clone());
    let io = Paced::new(wire, FrameWatch::of_client(), Arc::clone(&gate), Some(patience.clone()));
    // Boxed: what it needs is freed when it is over.
    let opening = Box::pin(open(io, &settings.http2));
    let Ok(Some(h2)) = tokio::time::timeout(settings.header_timeout, opening).await else { return };
    let turn = Turn::default();
    let streams = Streams {
        serving: FuturesUnordered::new(),
        serve: |request, response| {
            let accepted = Accepted::new(request, response, &connection.account)
                .inspect_err(|MalformedHead| handler.refused(&connection, 400, "malformed_head"));
            Some(serve_stream(accepted.ok()?, handler, &connection, &patience, &turn))
        },
        permit,
        most: 0,
    };
    let processors = PollSemaphore::new(Arc::clone(connection.account.processors()));
    let serving = Serving {
        h2,
        gate,
        streams,
        turn: &turn,
        processors,
        processor: None,
        malformed: 0,
        idle: Idle::default(),
        going_away: false,
    };
    serving.run(number, watches, &settings.http2).await;
}

/// Does what comes before the first stream. The connection is boxed, as it would be moved from future to future, each of
/// which keeps the room for it.
async fn open(io: Paced<Wire>, settings: &Http2Settings) -> Option<Box<H2>> {
    let mut opening = pin!(builder(settings).handshake(io));
    // The buffers that h2 makes for a connection are mostly empty for as long as it lasts: 16 KiB for what is written.
    let h2 = poll_fn(|cx| allocator::with_fresh_pages(|| opening.as_mut().poll(cx))).await;
    h2.ok().map(Box::new)
}

fn builder(settings: &Http2Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(settings.max_header_list_size)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_send_buffer_size(settings.max_send_buffer)
        .header_table_size(super::HEADER_TABLE)
        .data_frame_budget(super::NO_FRAME_BUDGET)
        .enable_connect_protocol();
    builder
}

/// A request that `h2` has decoded, copied, and the two halves of its stream.
struct Accepted {
    head: RequestHead,
    body: Option<Arc<RequestBody>>,
    response: SendResponse<Chunk>,
}

impl Accepted {
    /// Resets the stream if the head is malformed.
    fn new(
        request: Request<h2::RecvStream>,
        mut response: SendResponse<Chunk>,
        account: &Arc<Account>,
    ) -> Result<Self, MalformedHead> {
        let (parts, body) = request.into_parts();
        let has_ended = body.is_end_stream();
        let head = request::of_parts(&parts, has_ended);
        let head = head.inspect_err(|_| response.send_reset(Reason::PROTOCOL_ERROR))?;
        let body = (!has_ended).then(|| RequestBody::new(body, account));
        Ok(Self { head, body, response })
    }
}

/// Serves one stream. What its handler does not read of the body is taken from `h2` after each poll.
async fn serve_stream<H: Handler>(
    accepted: Accepted,
    handler: &H,
    connection: &Connection,
    patience: &Patience,
    turn: &Turn,
) {
    let Accepted { head, body, response } = accepted;
    let mut client = ServerStream::new(response, body.clone(), head.expects_continue, patience);
    {
        let mut handling = pin!(handler.handle(connection, head, &mut client));
        let mut is_new = true;
        poll_fn(|cx| {
            if !turn.take() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if std::mem::take(&mut is_new) {
                turn.begun();
            }
            let polled = handling.as_mut().poll(cx);
            if let Some(body) = body.as_ref().filter(|_| polled.is_pending()) {
                body.absorb(cx);
            }
            polled
        })
        .await;
    }
    poll_fn(|cx| client.poll_finish(turn.rounds(), cx)).await;
}

/// The turn of a connection's task.
#[derive(Debug, Default)]
struct Turn {
    /// Polls of streams that are left.
    left: AtomicU32,
    /// Streams that have not been polled yet: the memory of their heads is not reserved.
    new: AtomicU32,
    /// How often all that can be sent was handed to the byte stream, in all turns.
    rounds: AtomicU32,
}

impl Turn {
    fn begin(&self) {
        self.left.store(STREAMS_PER_TURN, Relaxed);
    }

    /// Takes a part of the turn. Returns `false` at its end.
    fn take(&self) -> bool {
        let left = self.left();
        self.left.store(left.saturating_sub(1), Relaxed);
        left > 0
    }

    fn opened(&self) {
        self.new.fetch_add(1, Relaxed);
    }

    fn begun(&self) {
        self.new.fetch_sub(1, Relaxed);
    }

    fn has_new(&self) -> bool {
        self.new.load(Relaxed) > 0
    }

    fn left(&self) -> u32 {
        self.left.load(Relaxed)
    }

    fn rounds(&self) -> u32 {
        self.rounds.load(Relaxed)
    }

    fn next_round(&self) {
        self.rounds.store(self.rounds().wrapping_add(1), Relaxed);
    }
}

/// The streams of a connection that are being served.
struct Streams<'a, S, F> {
    serving: FuturesUnordered<F>,
    serve: S,
    permit: &'a Permit,
    /// The most that were open at a time.
    most: usize,
}

impl<S, F> Streams<'_, S, F>
where
    S: Fn(Request<h2::RecvStream>, SendResponse<Chunk>) -> Option<F>,
    F: Future<Output = ()>,
{
    /// Returns `false` if the request is malformed.
    fn open(&mut self, request: Request<h2::RecvStream>, response: SendResponse<Chunk>) -> bool {
        let Some(serving) = (self.serve)(request, response) else { return false };
        self.serving.push(serving);
        self.permit.stream_opened();
        self.most = self.most.max(self.serving.len());
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.serving.poll_next_unpin(cx) {
            self.permit.stream_ended();
        }
    }
}

impl<S, F> Drop for Streams<'_, S, F> {
    fn drop(&mut self) {
        self.permit.most_streams(self.most);
        for _ in 0..self.serving.len() {
            self.permit.stream_ended();
        }
    }
}

/// The time without streams.
#[derive(Debug, Default)]
struct Idle {
    since: Option<Instant>,
    deadline: Deadline,
}

impl Idle {
    fn poll(&mut self, is_idle: bool, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !is_idle {
            self.since = None;
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        self.deadline.poll(since + patience, cx)
    }
}

struct Serving<'a, S, F> {
    h2: Box<H2>,
    gate: Arc<Gate>,
    streams: Streams<'a, S, F>,
    turn: &'a Turn,
    /// A turn needs a permit, and keeps it until the next one while there is more to do: no more connections of a source than it
    /// has permits wait in the way of others.
    processors: PollSemaphore,
    processor: Option<OwnedSemaphorePermit>,
    malformed: u32,
    idle: Idle,
    going_away: bool,
}

/// What ends a series of turns.
enum Event {
    /// The connection is at its end.
    Closed,
    /// The client is to be cut off.
    Abuse(Closed),
    /// No stream has been open for as long as that may be.
    Idle,
}

impl<S, F> Serving<'_, S, F>
where
    S: Fn(Request<h2::RecvStream>, SendResponse<Chunk>) -> Option<F>,
    F: Future<Output = ()>,
{
    async fn run(mut self, number: usize, watches: &Watches, settings: &Http2Settings) {
        let mut drain = watches.drain.clone();
        let max_malformed = settings.max_malformed_streams;
        let reason = loop {
            let idle_timeout = watches.pressure.idle_timeout(settings.idle_timeout);
            let patience = if self.going_away { GOAWAY_LINGER } else { idle_timeout };
            let going_away = self.going_away;
            tokio::select! {
                biased;
                Ok(_) = drain.wait_for(|phase| *phase >= Phase::Draining), if !going_away => {
                    self.go_away(Closed::Drained);
                }
                event = poll_fn(|cx| self.poll_turn(max_malformed, patience, cx)) => match event {
                    Event::Closed => return,
                    Event::Abuse(reason) => break reason,
                    Event::Idle if going_away => return,
                    Event::Idle => self.go_away(Closed::IdleTimeout),
                },
                call = watches.pressure.called(number), if !going_away => {
                    if call.is_for_busy() || self.streams.serving.is_empty() {
                        self.go_away(Closed::Overload);
                    }
                }
            }
        };
        self.cut_off(reason).await;
    }

    /// Reads, and polls streams that can go on, until nothing can or the turn is at its end.
    fn poll_turn(&mut self, max_malformed: u32, patience: Duration, cx: &mut Context<'_>) -> Poll<Event> {
        if self.processor.is_none() {
            self.processor = ready!(self.processors.poll_acquire(cx));
        }
        self.turn.begin();
        loop {
            while let Poll::Ready(accepted) = self.h2.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, response))) => {
                        if self.streams.open(request, response) {
                            self.turn.opened();
                        } else {
                            self.malformed += 1;
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(ended_by(&error)),
                    None => return Poll::Ready(Event::Closed),
                }
            }
            self.turn.next_round();
            if let Some(reason) = self.gate.alarm() {
                return Poll::Ready(Event::Abuse(reason));
            }
            if self.malformed >= max_malformed {
                return Poll::Ready(Event::Abuse(Closed::MalformedStreams));
            }
            let left = self.turn.left();
            self.streams.poll(cx);
            // What has come waits in little memory only once it has been looked at.
            let was_paused = !self.turn.has_new() && self.gate.resume();
            if was_paused {
                // A portion costs as much as a stream, also if `h2` refuses all requests in it by itself.
                self.turn.take();
            }
            if self.turn.left() == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What the streams have sent is written by the next round.
            if !was_paused && self.turn.left() == left {
                break;
            }
        }
        self.processor = None;
        self.idle.poll(self.streams.serving.is_empty(), patience, cx).map(|()| Event::Idle)
    }

    /// Announces the end; streams that are open, and those that cross the announcement, are served.
    fn go_away(&mut self, reason: Closed) {
        reason.count();
        self.h2.graceful_shutdown();
        self.going_away = true;
        self.idle = Idle::default();
    }

    /// Ends the connection with all its streams, and tells the client why (RFC 9113 §7, `ENHANCE_YOUR_CALM`) unless it does
    /// not read.
    async fn cut_off(self, reason: Closed) {
        reason.count();
        let Self { mut h2, streams, processors, processor, .. } = self;
        drop((streams, processor, processors));
        h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let closed = poll_fn(|cx| h2.poll_closed(cx));
        // An error, or the end of our patience: either way the connection is dropped.
        let _ = tokio::time::timeout(GOAWAY_LINGER, closed).await;
    }
}

/// `h2` resets malformed requests itself, and cuts off a client that sends too many.
fn ended_by(error: &h2::Error) -> Event {
    if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
        Closed::MalformedStreams.count();
    }
    Event::Closed
}
