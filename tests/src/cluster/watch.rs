//! Watches: what has changed since a version, as it changes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::error::ApiError;
use super::fault::{Distortion, End, Plan};
use super::list;
use super::object::Object;
use super::reply::{self, Body};
use super::request::ApiRequest;
use super::selector::Selector;

mod events;
mod start;

use events::Event;
use start::Start;

/// How long a watch lasts that sets no limit itself; a real server takes 30 to 60 minutes.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How many changes are taken from the store, or sent, at a time.
const BATCH: usize = 256;

/// How many pieces wait for a slow client; beyond that the changes wait in the store's history, which is bounded.
const PIECES: usize = 4;

/// How long events are held back to be reordered.
const REORDERING: Duration = Duration::from_millis(100);

type Piece = io::Result<Frame<Bytes>>;

/// A watch that runs.
struct Watch {
    shared: Arc<Shared>,
    request: ApiRequest,
    selector: Selector,
    plan: Plan,
    cursor: u64,
    sent: u64,
    out: mpsc::Sender<Piece>,
    bookmarks: bool,
}

/// The client is gone, or the watch has come to its end.
struct Ended;

/// Answers a watch; it goes on in the background until its end or the client's.
pub(super) fn watch(shared: &Arc<Shared>, request: ApiRequest, plan: Plan) -> Result<Response<Body>, ApiError> {
    let query = &request.query;
    let selector = Selector::parse(request.kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let start = Start::of(shared, &request, &selector)?;
    let lasts = query.timeout()?.unwrap_or(LONGEST);
    let bookmarks = query.is_true("allowWatchBookmarks");
    let (out, pieces) = mpsc::channel(PIECES);
    let running =
        Watch { shared: Arc::clone(shared), request, selector, plan, cursor: start.revision, sent: 0, out, bookmarks };
    tokio::spawn(async move {
        let _ended = running.run(start, lasts).await;
    });
    let body = stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    Ok(reply::json_body(StatusCode::OK, BodyExt::boxed_unsync(StreamBody::new(body))))
}

impl Watch {
    async fn run(mut self, start: Start, lasts: Duration) -> Result<(), Ended> {
        if self.plan.gone {
            return self.end(End::Error(ApiError::gone(self.cursor, self.shared.store.revision()))).await;
        }
        for objects in start.initial.chunks(BATCH) {
            self.send_events(objects.iter().map(|object| Event::added(Arc::clone(object))).collect()).await?;
        }
        if start.marks_end {
            self.bookmark(true).await?;
        }
        self.follow(Instant::now() + lasts).await
    }

    async fn follow(&mut self, until: Instant) -> Result<(), Ended> {
        let mut changed = self.shared.store.subscribe(self.request.kind);
        let interval = self.shared.bookmark_interval;
        let mut next_bookmark = Instant::now() + interval;
        let (early, end) = self.plan.end_after.clone().unwrap_or((LONGEST * 24, End::Quietly));
        let early = Instant::now() + early;
        loop {
            changed.borrow_and_update();
            if self.send_changes().await? {
                continue;
            }
            tokio::select! {
                () = self.out.closed() => return Err(Ended),
                // The store outlives its watches.
                _alive = changed.changed() => {}
                () = sleep_until(next_bookmark), if self.bookmarks => {
                    self.bookmark(false).await?;
                    next_bookmark = Instant::now() + interval;
                }
                () = sleep_until(early) => return self.end(end).await,
                () = sleep_until(until) => {
                    if self.bookmarks {
                        self.bookmark(false).await?;
                    }
                    return Err(Ended);
                }
            }
        }
    }

    /// Sends what has changed; whether there may be more.
    async fn send_changes(&mut self) -> Result<bool, Ended> {
        let kind = self.request.kind;
        if self.reorders() && self.shared.store.changes(kind, self.cursor, 1).is_ok_and(|(some, _)| !some.is_empty()) {
            sleep(REORDERING).await;
        }
        let (changes, up_to) = match self.shared.store.changes(kind, self.cursor, BATCH) {
            Ok(changes) => changes,
            Err(gone) => return self.end(End::Error(gone)).await.map(|()| false),
        };
        self.cursor = up_to;
        let full = changes.len() == BATCH;
        let events = changes.iter().filter_map(|change| {
            Event::of_change(kind, change, |key, object: &Object| {
                self.request.namespace.as_deref().is_none_or(|namespace| super::object::split_key(key).0 == namespace)
                    && self.selector.matches(key, object)
            })
        });
        let events = events.collect();
        self.send_events(events).await?;
        Ok(full)
    }

    fn reorders(&self) -> bool {
        self.plan.distortions.contains(&Distortion::Reorder)
    }

    /// Sends events, and ends after the last one that the plan allows.
    async fn send_events(&mut self, events: Vec<Event>) -> Result<(), Ended> {
        let mut events = events::distort(events, &self.plan.distortions);
        let end = self.plan.end_after_events.clone().and_then(|(allowed, end)| {
            let left = usize::try_from(allowed.saturating_sub(self.sent)).unwrap_or(usize::MAX);
            (events.len() >= left && (!events.is_empty() || left == 0)).then(|| {
                events.truncate(left);
                end
            })
        });
        let mut bytes = Vec::new();
        for event in &events {
            event.append(&mut bytes, self.request.shape);
        }
        self.sent += events.len() as u64;
        if !bytes.is_empty() {
            self.send(bytes).await?;
        }
        match end {
            Some(end) => self.end(end).await,
            None => Ok(()),
        }
    }

    async fn bookmark(&mut self, initial_events_end: bool) -> Result<(), Ended> {
        if self.cursor > self.shared.store.revision() {
            // Its version is not reached yet.
            return Ok(());
        }
        let object = self.request.shape.bookmark(self.request.kind, self.cursor, initial_events_end);
        self.send(events::line("BOOKMARK", &object)).await
    }

    /// Ends the watch; never comes back with success.
    async fn end(&mut self, end: End) -> Result<(), Ended> {
        match end {
            End::Quietly => {}
            End::Reset => {
                let reset = io::Error::new(io::ErrorKind::ConnectionReset, "a fault of the simulation");
                let _client_is_gone = self.out.send(Err(reset)).await;
            }
            End::Error(error) => self.send(events::line("ERROR", &error.status())).await?,
        }
        Err(Ended)
    }

    /// Sends a piece, not before a silence is over.
    async fn send(&self, bytes: Vec<u8>) -> Result<(), Ended> {
        self.shared.silence.answering().await;
        self.out.send(Ok(Frame::data(bytes.into()))).await.map_err(|_| Ended)
    }
}
