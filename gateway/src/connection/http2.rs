//! HTTP/2 connections: streams are served side by side; GOAWAY when draining or idle.

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Connection as H2Connection;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, handshake};
use pingora_core::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl, Stream};
use pingora_proxy::ProxyHttp;
use tokio::sync::Notify;

use super::Closed;
use super::bodies::{self, Accounts};
use super::frame::Alarm;
use super::service::{Service, Watches};
use super::stream::Downstream;
use crate::allocator;
use crate::drain::Phase;
use crate::listener::Permit;

/// How long a connection without streams stays after GOAWAY; a client that is there closes it within a round trip.
const GOAWAY_LINGER: Duration = Duration::from_secs(5);

/// Serves the streams of a connection until it is closed.
pub(super) async fn serve<P>(mut stream: Box<Downstream>, service: &Service<P>, permit: Permit, watches: &Watches)
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    let alarm = stream.begin_http2();
    let number = usize::try_from(stream.as_raw_fd()).unwrap_or_default();
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let (_, header_timeout) = service.timeouts();
    let opening = open(stream, service.http.h2_options.clone());
    // Boxed: what it needs is freed when it is over.
    let Ok(Some(conn)) = tokio::time::timeout(header_timeout, Box::pin(opening)).await else {
        return;
    };
    let streams = Arc::new(Streams::new(permit));
    Http2 { conn, number, digest, streams, alarm, malformed: 0, going_away: false }.run(service, watches).await;
}

/// Does what comes before the first stream. The connection is boxed, as it would be moved from future to future, each of
/// which keeps the room for it.
async fn open(stream: Stream, options: Option<H2Options>) -> Option<Box<H2Connection<Stream, Bytes>>> {
    let mut opening = pin!(handshake(stream, options));
    // The buffers that h2 makes for a connection are mostly empty for as long as it lasts: 16 KiB for what is written.
    let conn = poll_fn(|cx| allocator::with_fresh_pages(|| opening.as_mut().poll(cx))).await;
    conn.ok().map(Box::new)
}

struct Http2 {
    conn: Box<H2Connection<Stream, Bytes>>,
    /// Tells it apart from others, more or less.
    number: usize,
    digest: Arc<Digest>,
    streams: Arc<Streams>,
    alarm: Arc<Alarm>,
    malformed: u32,
    going_away: bool,
}

impl Http2 {
    async fn run<P>(mut self, service: &Service<P>, watches: &Watches)
    where
        P: ProxyHttp + Send + Sync + 'static,
        P::CTX: Send + Sync,
    {
        let mut drain = watches.drain.clone();
        let settings = service.settings.load().http2.clone();
        let reason = loop {
            let patience =
                if self.going_away { GOAWAY_LINGER } else { watches.pressure.idle_timeout(settings.idle_timeout) };
            tokio::select! {
                biased;
                Ok(_) = drain.wait_for(|phase| *phase >= Phase::Draining), if !self.going_away => {
                    self.go_away(Closed::Drained);
                }
                accepted = HttpSession::from_h2_conn(&mut self.conn, Arc::clone(&self.digest)) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => self.streams.spawn(session, service, watches),
                    Ok(Some(H2Accept::Rejected)) => {
                        self.malformed += 1;
                        if self.malformed >= settings.max_malformed_streams {
                            break Closed::MalformedStreams;
                        }
                    }
                    Ok(None) | Err(_) => return,
                },
                reason = self.alarm.raised() => break reason,
                call = watches.pressure.called(self.number), if !self.going_away => {
                    if call.is_for_busy() || self.streams.is_idle() {
                        self.go_away(Closed::Overload);
                    }
                }
                () = self.streams.idle_for(patience) => {
                    if self.going_away {
                        return;
                    }
                    self.go_away(Closed::IdleTimeout);
                }
            }
        };
        self.cut_off(reason).await;
    }

    /// Announces the end; streams that are open, and those that cross the announcement, are served.
    fn go_away(&mut self, reason: Closed) {
        reason.count();
        self.conn.graceful_shutdown();
        self.going_away = true;
    }

    /// Ends the connection with all its streams, and tells the client why (RFC 9113 §7, `ENHANCE_YOUR_CALM`) unless it does not
    /// read.
    async fn cut_off(mut self, reason: Closed) {
        reason.count();
        self.conn.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let closed = std::future::poll_fn(|cx| self.conn.poll_closed(cx));
        // An error, or the end of our patience: either way the connection is dropped.
        let _ = tokio::time::timeout(GOAWAY_LINGER, closed).await;
    }
}

/// The streams of a connection that are being served. Holds the connection's permit, as each of them does.
struct Streams {
    open: AtomicUsize,
    /// The most that were open at a time.
    most: AtomicUsize,
    ended: Notify,
    /// Bytes of bodies that wait.
    held: Arc<AtomicU64>,
    permit: Permit,
}

impl Streams {
    fn new(permit: Permit) -> Self {
        Self { open: 0.into(), most: 0.into(), ended: Notify::new(), held: Arc::default(), permit }
    }

    fn spawn<P>(self: &Arc<Self>, session: HttpSession, service: &Service<P>, watches: &Watches)
    where
        P: ProxyHttp + Send + Sync + 'static,
        P::CTX: Send + Sync,
    {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        self.permit.stream_opened();
        let busy = Busy(Arc::clone(self));
        let http = Arc::clone(&service.http);
        let shutdown = watches.shutdown.clone();
        let accounts = Accounts { pressure: watches.pressure.clone(), connection: Some(Arc::clone(&self.held)) };
        let stall = service.settings.load().write_stall_timeout;
        tokio::spawn(async move {
            let _busy = busy;
            let serving = http.process_new_http(ServerSession::new_http2(session), &shutdown);
            // Given up, the stream is reset.
            let _ended = bodies::watch(accounts, stall, serving).await;
        });
    }

    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Returns when no stream has been open for `patience`.
    async fn idle_for(&self, patience: Duration) {
        while !self.is_idle() {
            self.ended.notified().await;
        }
        tokio::time::sleep(patience).await;
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.permit.most_streams(*self.most.get_mut());
    }
}

/// Counts a stream as open until dropped.
struct Busy(Arc<Streams>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.permit.stream_ended();
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.notify_one();
        }
    }
}
