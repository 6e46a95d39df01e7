//! The proxy: decides about a request, finds an endpoint for it, and lets the relay copy.
//!
//! ```text
//!  head ─► validate ─► admit (route) ─► reserve ─► choose, connect ─► rewrite ─► relay ─► record
//!            400 431     404 301 421     503            503 ▲                      │
//!                                                           └── not processed, or connection stale (retry)
//! ```

pub mod access;
pub mod admit;
pub mod failure;
pub mod forwarded;
mod metrics;
mod probe;
mod record;
pub mod respond;
mod response;
pub mod retry;
pub mod rewrite;
pub mod settings;
pub mod trust;
pub mod validate;

use std::sync::Arc;
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;

use crate::connection::{Connection, NARROW, WIDE};
use crate::exchange::relay::{Broken, Filter, Limits, Relay};
use crate::exchange::replay::Replay;
use crate::exchange::{ClientStream, EndpointStream, Handler};
use crate::ledger::{Kind, Reservation, Shortage};
use crate::live::Live;
use crate::message::{BodyLength, Name, RequestHead, ResponseHead, Version};
use crate::overload::{Pressure, Refused};
use crate::tables::{Snapshot, Tables};
use crate::upstream::{Choice, Connector, Protocol, REQUEST_MEMORY, Upstreams};

use admit::{Arrival, Verdict};
use failure::{Failure, Severity};
use forwarded::Origin;
use metrics::Metrics;
use record::{Record, UnderWay};
use respond::Reply;
use retry::Exchange;

pub use metrics::describe_metrics;
pub use settings::Settings;

/// Bytes of the state of a request, besides its head.
const STATE_MEMORY: u64 = 8 * 1024;

/// Returns `true` if the gateway is ready, for `/ready` on the internal listener.
pub type Readiness = Arc<dyn Fn() -> bool + Send + Sync>;

/// The proxy application.
pub struct Postern {
    tables: Tables,
    upstreams: Upstreams,
    connector: Connector,
    settings: Live<Settings>,
    pressure: Pressure,
    is_ready: Readiness,
    metrics: Metrics,
}

impl Postern {
    /// Creates the proxy on these tables. `applied` rises with every Update ([`crate::apply::Applier::applied`]).
    ///
    /// Of the settings, the number of requests that may wait and the timeouts of connections to endpoints stay as they are now.
    pub fn new(
        tables: Tables,
        applied: watch::Receiver<u64>,
        settings: impl Into<Live<Settings>>,
        is_ready: Readiness,
    ) -> Self {
        let settings = settings.into();
        let upstreams = Upstreams::new(Arc::clone(&tables), applied, settings.load().max_waiting);
        let connector = Connector::new(settings.load().upstream);
        let metrics = Metrics::new();
        Self { tables, upstreams, connector, settings, pressure: Pressure::new(), is_ready, metrics }
    }

    /// Refuses requests while the process is short of memory.
    #[must_use]
    pub(crate) fn under(self, pressure: Pressure) -> Self {
        Self { pressure, ..self }
    }

    /// Decides about a request.
    fn admit(&self, request: &mut UnderWay<'_>) -> Verdict {
        let settings = self.settings.load();
        let arrival = Arrival::from(request.connection);
        request.record.client = trust::client(&settings, arrival.peer, &request.head.fields);
        if let Err(reason) = validate::check(&request.head, &settings) {
            count_failure(Failure::Rejected(reason));
            return Verdict::Reply(admit::reject(reason));
        }
        request.record.request_id = admit::request_id(&settings, &arrival, &request.head);
        let is_question = admit::is_readiness_question(&arrival, &request.head);
        if !is_question && self.pressure.refuses(arrival.listener, Refused::Request) {
            return failed_reply(Failure::Overload);
        }
        admit::admit(&self.tables.load(), &arrival, &request.head, &settings, (self.is_ready)())
    }

    /// Serves a request that goes to an endpoint.
    async fn forward<C: ClientStream>(&self, request: &mut UnderWay<'_>, client: &mut C) -> Result<(), Failure> {
        if let Err(shortage) = request.memory {
            return Err(Failure::Shortage(shortage));
        }
        let _memory = unless_gone(client, self.reserve(request)).await??;
        let wide = reserve_window(request);
        if wide.is_some() {
            client.widen(true);
        }
        let served = self.forward_with_memory(request, client).await;
        if wide.is_some() {
            client.widen(false);
        }
        served
    }

    async fn forward_with_memory<C: ClientStream>(
        &self,
        request: &mut UnderWay<'_>,
        client: &mut C,
    ) -> Result<(), Failure> {
        let mut replay = Replay::new(Arc::clone(&request.connection.account));
        let mark = request.head.fields.mark();
        loop {
            let choice = unless_gone(client, self.choose(request)).await??;
            let protocol = protocol(request, &choice);
            let is_repeatable = retry::is_idempotent(&request.head.method);
            let connecting = self.connector.connect(&choice.endpoint, protocol, is_repeatable);
            let connected = unless_gone(client, connecting).await?;
            let mut endpoint = match connected {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    self.connect_failed(&mut request.record, &choice, &error);
                    continue;
                }
            };
            choice.endpoint.connected();
            self.rewrite(request);
            let outcome = self.relay(request, client, &mut endpoint, &mut replay).await;
            let (broken, is_unanswered) = match outcome {
                Ok(()) => {
                    self.connector.release(&choice.endpoint, endpoint);
                    return Ok(());
                }
                Err(broken) => broken,
            };
            let is_reused = endpoint.is_reused();
            drop(endpoint);
            if !self.is_repeated(request, broken, is_unanswered, is_reused, &replay) {
                return Err(broken.into());
            }
            request.record.repeat(&choice, is_reused);
            request.head.fields.restore(&mark);
            if let Some(authority) = request.replaced.take() {
                request.head.authority = authority;
            }
        }
    }

    /// Reserves the memory of both bodies as soon as there is some.
    async fn reserve(&self, request: &UnderWay<'_>) -> Result<Reservation, Failure> {
        let patience = self.settings.load().endpoint_wait;
        let reserved = request.connection.account.reserve(Kind::Request, REQUEST_MEMORY, patience).await;
        reserved.map_err(Failure::Shortage)
    }

    async fn choose(&self, request: &mut UnderWay<'_>) -> Result<Choice, Failure> {
        let UnderWay { connection, head, record, .. } = request;
        let Some(matched) = &mut record.matched else { return Err(Failure::UpstreamBroken) };
        let arrival = Arrival::from(*connection);
        let mut has_waited = false;
        let destination = |snapshot: &Snapshot| {
            if std::mem::replace(&mut has_waited, true) {
                admit::follow_change(matched, snapshot, &arrival, head);
            }
            // A cluster that is not in the tables any more may be held by the route.
            snapshot.clusters.get(matched.cluster()).or_else(|| matched.held_cluster().cloned())
        };
        let wait = self.settings.load().endpoint_wait;
        let choice = self.upstreams.choose(destination, &mut record.attempts, wait).await;
        let choice = choice.map_err(Failure::Unavailable)?;
        record.endpoint = Some(choice.endpoint.address());
        record.tries += 1;
        Ok(choice)
    }

    fn connect_failed(&self, record: &mut Record, choice: &Choice, error: &std::io::Error) {
        let endpoint = choice.endpoint.address();
        tracing::debug!(%endpoint, %error, "cannot connect to an endpoint");
        self.metrics.connect_failed();
        choice.endpoint.connect_failed();
        record.attempts.failed(endpoint);
    }

    fn rewrite(&self, request: &mut UnderWay<'_>) {
        let settings = self.settings.load();
        let peer = request.connection.client.ip();
        let origin = Origin {
            peer,
            is_tls: request.connection.tls.is_some(),
            authority: &request.head.authority,
            is_trusted: trust::is_trusted(&settings, peer),
            chain: trust::chain(&settings, peer),
        };
        let Record { request_id, matched, .. } = &request.record;
        rewrite::set_origin(&mut request.head.fields, &origin, request_id, settings.underscore_headers);
        if let Some(matched) = matched {
            request.replaced = rewrite::apply_route(&mut request.head, matched);
        }
    }

    /// Copies both ways. On failure says as well whether nothing of a final response was sent.
    async fn relay<C: ClientStream>(
        &self,
        request: &mut UnderWay<'_>,
        client: &mut C,
        endpoint: &mut crate::upstream::EndpointExchange,
        replay: &mut Replay,
    ) -> Result<(), (Broken, bool)> {
        let limits = {
            let settings = self.settings.load();
            Limits { idle: settings.stream_idle, request_body: settings.max_request_body }
        };
        let UnderWay { connection, head, record, .. } = request;
        let mut copying = Relay::new(client, endpoint, record, replay, (head, &connection.account), limits);
        let outcome = copying.run().await;
        outcome.map_err(|broken| (broken, copying.is_unanswered()))
    }

    /// Decides whether the request is sent again.
    fn is_repeated(
        &self,
        request: &UnderWay<'_>,
        broken: Broken,
        is_unanswered: bool,
        is_reused: bool,
        replay: &Replay,
    ) -> bool {
        let Broken::Endpoint(error) = broken else { return false };
        let method = &request.head.method;
        let exchange = Exchange {
            is_safe: retry::is_safe(method),
            is_idempotent: retry::is_idempotent(method),
            is_reused,
            has_response: !is_unanswered,
            can_replay: replay.can_repeat(),
            repeats: request.record.repeats,
            breaks: request.record.breaks,
        };
        let is_repeated = retry::may_repeat(error, exchange);
        if is_repeated {
            tracing::debug!(%error, "sending a request again");
            self.metrics.retried();
        }
        is_repeated
    }

    /// Ends a request that failed: with a response if none has begun, otherwise by breaking off.
    async fn fail<C: ClientStream>(&self, request: &mut UnderWay<'_>, client: &mut C, failure: Failure) {
        count_failure(failure);
        log_failure(request, failure);
        match admit::failed(failure).filter(|_| request.record.status.is_none()) {
            Some(reply) => self.reply(request, client, &reply).await,
            None => client.abort(),
        }
    }

    async fn reply<C: ClientStream>(&self, request: &mut UnderWay<'_>, client: &mut C, reply: &Reply) {
        request.record.status = Some(if request.head.is_grpc() { 200 } else { reply.status.as_u16() });
        // A client that takes no body has its stream in memory for as long as there is one to take.
        let has_body = request.memory.is_ok();
        let sent = respond::respond(client, &request.head, reply, &request.record.request_id, has_body).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "cannot send a response of the gateway");
            client.abort();
        }
    }
}

impl Handler for Postern {
    fn refused(&self, connection: &Connection, status: u16, reason: &'static str) {
        ::metrics::counter!("postern_request_failures_total", "reason" => "malformed").increment(1);
        self.metrics.responded(
            connection.listener,
            Some(status),
            metrics::Responder::Gateway,
            std::time::Duration::ZERO,
        );
        if self.settings.load().access_log && access::is_wanted() {
            access::log_refused(connection, status, reason);
        }
    }

    async fn handle<C: ClientStream>(&self, connection: &Connection, head: RequestHead, client: &mut C) {
        let logs_access = self.settings.load().access_log;
        let memory = reserve_state(connection, &head);
        let mut request = UnderWay::new(connection, head, memory, &self.metrics, logs_access);
        match self.admit(&mut request) {
            Verdict::Forward(matched) => {
                request.record.matched = Some(matched);
                prepare_upgrade(&mut request.head);
                if let Err(failure) = self.forward(&mut request, client).await {
                    self.fail(&mut request, client, failure).await;
                }
            }
            Verdict::Reply(reply) => self.reply(&mut request, client, &reply).await,
        }
        request.end(client.bytes_sent());
    }
}

/// Waits for `future` as long as the client is there.
async fn unless_gone<C: ClientStream, F: Future>(client: &mut C, future: F) -> Result<F::Output, Failure> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => client.poll_gone(cx).map(|error| Err(Broken::Client(error).into())),
    })
    .await
}

/// Reserves the memory of a request's state and head, to the end of the response, the gateway's own included.
fn reserve_state(connection: &Connection, head: &RequestHead) -> Result<Reservation, Shortage> {
    // A client of HTTP/1.1 may send ahead, which waits in the kernel until it is read.
    let ahead = if head.version == Version::Http2 { 0 } else { 2 * NARROW as u64 };
    connection.account.try_reserve(Kind::Head, STATE_MEMORY + head.memory() as u64 + ahead)
}

/// Reserves memory for a larger window, if the client has a large body to send by HTTP/1.1.
fn reserve_window(request: &UnderWay<'_>) -> Option<Reservation> {
    let is_large = match request.head.body {
        BodyLength::Empty => false,
        BodyLength::Exact(length) => length > NARROW as u64,
        BodyLength::Unknown => true,
    };
    let is_wanted = is_large && request.head.version != Version::Http2;
    is_wanted.then(|| request.connection.account.try_reserve(Kind::Request, 2 * WIDE as u64).ok()).flatten()
}

/// Returns the protocol of a request to the chosen cluster.
fn protocol(request: &UnderWay<'_>, choice: &Choice) -> Protocol {
    let force_http1 = request.record.matched.as_ref().is_some_and(|matched| matched.action().force_http1);
    Protocol::of(choice.cluster.protocol(), force_http1, request.head.upgrade.is_some())
}

/// An extended CONNECT (RFC 8441 §5) asks the endpoint for an upgrade in HTTP/1.1; its stream carries no body before that.
///
/// A WebSocket has no key in HTTP/2 (§5.1), and is refused without one in HTTP/1.1 (RFC 6455 §4.1).
fn prepare_upgrade(head: &mut RequestHead) {
    if head.version == Version::Http2 && head.upgrade.is_some() {
        head.method = http::Method::GET;
        head.body = BodyLength::Empty;
        head.takes_trailers = false;
        if head.is_websocket() {
            let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
            head.fields.set(Name::SecWebSocketKey, key.as_bytes());
        }
    }
}

impl Filter for Record {
    fn response(&mut self, head: &mut ResponseHead) {
        self.status = Some(head.status);
        self.is_of_endpoint = true;
        response::remove_hop_by_hop(head);
    }
}

impl Record {
    /// The request is sent again: elsewhere, if a fresh connection broke under it, as that endpoint is likely to be restarting.
    fn repeat(&mut self, choice: &Choice, was_reused: bool) {
        self.repeats += 1;
        if !was_reused {
            self.breaks += 1;
            self.attempts.failed(choice.endpoint.address());
        }
    }
}

fn failed_reply(failure: Failure) -> Verdict {
    count_failure(failure);
    let unavailable = || Reply::new(http::StatusCode::SERVICE_UNAVAILABLE, failure.message()).closing();
    Verdict::Reply(admit::failed(failure).unwrap_or_else(unavailable))
}

fn count_failure(failure: Failure) {
    ::metrics::counter!("postern_request_failures_total", "reason" => failure.consequence().label).increment(1);
}

fn log_failure(request: &UnderWay<'_>, failure: Failure) {
    let host = &*String::from_utf8_lossy(request.authority());
    let cluster = request.record.matched.as_ref().map(crate::route::Matched::cluster);
    let endpoint = request.record.endpoint.map(tracing::field::display);
    let error = failure.message();
    match failure.consequence().severity {
        Severity::Debug => tracing::debug!(host, cluster, endpoint, error, "request failed"),
        Severity::Warn => tracing::warn!(host, cluster, endpoint, error, "request failed"),
    }
}

impl std::fmt::Debug for Postern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postern").field("settings", &self.settings).finish_non_exhaustive()
    }
}
