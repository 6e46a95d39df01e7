//! The proxy: pingora's callbacks, each a call into a decision that is made without pingora.
//!
//! ```text
//!  request ─► hygiene ─► admit (route) ─► upstream_peer (choose, wait) ─► rewrite ─► endpoint
//!               400        404 301 421        503                          │
//!                                             ▲── connect failed, or not processed (retry)
//! ```

pub mod access;
pub mod admit;
mod callbacks;
pub mod context;
mod figures;
pub mod forwarded;
pub mod hygiene;
pub mod outcome;
mod probe;
pub mod respond;
mod response;
pub mod retry;
pub mod rewrite;
pub mod settings;
mod values;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use pingora_core::protocols::http::v1::server::HttpSession as SessionV1;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{FailToProxy, Session};
use tokio::sync::watch;

use crate::connection::bodies::SHORT_STALL;
use crate::connection::{self, Connection};
use crate::live::Live;
use crate::route::Matched;
use crate::tables::{Snapshot, Tables};
use crate::upstream::Upstreams;
use crate::upstream::peer::{Peers, Speech};

use admit::{Admission, Arrival};
use context::RequestContext;
use figures::{Answerer, Figures};
use forwarded::Origin;
use hygiene::{RawRequest, Refusal};
use outcome::{Failure, Loudness};
use retry::Exchange;

pub use figures::describe_metrics;
pub use settings::Settings;

/// Says whether the gateway is ready, for `/ready` on the internal listener.
pub type Readiness = Arc<dyn Fn() -> bool + Send + Sync>;

/// The proxy application.
pub struct Postern {
    tables: Tables,
    upstreams: Upstreams,
    peers: Peers,
    settings: Live<Settings>,
    is_ready: Readiness,
    figures: Figures,
}

impl Postern {
    /// The proxy on these tables, for [`connection::http_service`]. `applied` rises with every Update
    /// ([`crate::apply::Applier::applied`]).
    ///
    /// Of the settings, how many requests may wait and how upstream connections are kept stay as they are now.
    pub fn new(
        tables: Tables,
        applied: watch::Receiver<u64>,
        settings: impl Into<Live<Settings>>,
        is_ready: Readiness,
    ) -> Self {
        let settings = settings.into();
        let upstreams = Upstreams::new(Arc::clone(&tables), applied, settings.load().max_waiting);
        let peers = Peers::new(settings.load().upstream);
        Self { tables, upstreams, peers, settings, is_ready, figures: Figures::new() }
    }

    /// Prepares the session and decides; true when the request is answered already.
    async fn receive(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
        self.prepare(session);
        match self.admit(session, ctx) {
            Admission::Forward(matched) => {
                ctx.matched = Some(matched);
                if self.settings.load().access_log {
                    ctx.head = access::Head::of(session);
                }
                Ok(false)
            }
            Admission::Answer(answer) => respond::respond(session, &answer, &ctx.request_id).await.map(|()| true),
        }
    }

    fn check(&self, session: &mut Session) -> std::result::Result<(), Failure> {
        let head = session.as_http1().map(SessionV1::get_headers_raw_bytes);
        let request = session.req_header();
        let raw = RawRequest {
            version: request.version,
            headers: &request.headers,
            target: request.raw_path(),
            head: head.as_deref(),
        };
        hygiene::check(&raw, &self.settings.load()).map_err(Failure::Refused)?;
        rewrite::to_origin_form(session.req_header_mut()).map_err(|_| Failure::BadRequest)
    }

    fn admit(&self, session: &mut Session, ctx: &mut RequestContext) -> Admission {
        if let Err(failure) = self.check(session) {
            ctx.failure = Some(failure);
            let refusal = if let Failure::Refused(refusal) = failure { refusal } else { Refusal::InvalidTarget };
            return Admission::Answer(admit::refuse(refusal));
        }
        let Some(connection) = connection::of(session) else {
            return Admission::Answer(respond::Answer::new(http::StatusCode::INTERNAL_SERVER_ERROR, "no connection"));
        };
        let (arrival, request) = (Arrival::from(connection), session.req_header());
        ctx.request_id = admit::request_id(&self.settings.load(), &arrival, request);
        ctx.is_upgrade = is_websocket(request);
        if !admit::is_readiness_question(&arrival, request) && connection::refuses_requests(session) {
            return Admission::Answer(admit::overloaded());
        }
        admit::admit(&self.tables.load(), &arrival, request, (self.is_ready)())
    }

    /// Idle connections, slow headers and, of HTTP/1.1, clients that read nothing are the connection's business; see
    /// [`connection::Settings`].
    fn prepare(&self, session: &mut Session) {
        let Settings { stream_idle, write_stall, .. } = **self.settings.load();
        session.set_read_timeout(stream_idle);
        let patience = if connection::is_memory_short(session) { write_stall.min(SHORT_STALL) } else { write_stall };
        let write_timeout = stream_idle.or(session.is_http2().then_some(patience));
        session.set_write_timeout(write_timeout);
        if connection::is_ending(session) {
            session.set_keepalive(None);
        }
    }

    /// How long a request waits for an endpoint, and how long it may be silent, as of now.
    fn patience(&self) -> (Duration, Option<Duration>) {
        let settings = self.settings.load();
        (settings.endpoint_wait, settings.stream_idle)
    }

    async fn choose_peer(&self, session: &Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
        ctx.choice = None;
        ctx.is_connected = false;
        let (Some(matched), Some(connection)) = (&mut ctx.matched, connection::of(session)) else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let (arrival, request) = (Arrival::from(connection), session.req_header());
        let mut has_waited = false;
        let destination = |snapshot: &Snapshot| {
            if std::mem::replace(&mut has_waited, true) {
                admit::follow_change(matched, snapshot, &arrival, request);
            }
            // A cluster that is not in the tables any more may be held by the route.
            snapshot.clusters.get(matched.cluster()).or_else(|| matched.held_cluster().cloned())
        };
        let (wait, stream_idle) = self.patience();
        let choice = self.upstreams.choose(destination, &mut ctx.attempts, wait).await.map_err(|reason| {
            ctx.failure = Some(Failure::Unavailable(reason));
            Error::new_up(ErrorType::HTTPStatus(503))
        })?;
        let speech = Speech::of(choice.cluster.protocol(), matched.action().force_http1, ctx.is_upgrade);
        let peer = self.peers.peer(choice.endpoint.address(), speech, stream_idle);
        ctx.choice = Some(choice);
        ctx.tries += 1;
        Ok(peer)
    }

    fn rewrite(&self, session: &Session, upstream: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
        let (Some(matched), Some(connection)) = (&ctx.matched, connection::of(session)) else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let client = connection.client.ip();
        let origin = Origin {
            client,
            is_tls: connection.tls.is_some(),
            authority: admit::authority(session.req_header()).unwrap_or_default(),
            is_trusted: forwarded::is_trusted(&self.settings.load(), client),
        };
        let underscore_headers = self.settings.load().underscore_headers;
        let plan = rewrite::Rewrite { matched, origin, request_id: &ctx.request_id, underscore_headers };
        rewrite::rewrite(upstream, &plan)
    }

    fn count_body(&self, body: Option<&Bytes>, ctx: &mut RequestContext) -> Result<()> {
        ctx.body_bytes += body.map_or(0, |body| body.len() as u64);
        if self.settings.load().max_request_body.is_some_and(|limit| ctx.body_bytes > limit) {
            ctx.failure = Some(Failure::Refused(Refusal::BodyTooLarge));
            return Err(Error::new_down(ErrorType::HTTPStatus(413)));
        }
        Ok(())
    }

    /// Nothing was sent: another endpoint may be asked, whatever went wrong.
    fn connect_failed(&self, ctx: &mut RequestContext, error: &Error) {
        self.figures.connect_failed();
        if let Some(choice) = ctx.choice.take() {
            let endpoint = choice.endpoint.address();
            tracing::debug!(%endpoint, %error, "cannot connect to an endpoint");
            choice.endpoint.connect_failed();
            ctx.attempts.failed(endpoint);
        }
    }

    /// Whether the request is sent again.
    fn is_repeated(&self, session: &Session, error: &Error, ctx: &mut RequestContext, is_reused: bool) -> bool {
        let method = &session.req_header().method;
        let exchange = Exchange {
            is_safe: method.is_safe(),
            is_idempotent: method.is_idempotent(),
            is_reused,
            has_response: ctx.answered.is_some() || session.response_written().is_some(),
            can_replay: !session.retry_buffer_truncated(),
            repeats: ctx.repeats,
            breaks: ctx.breaks,
        };
        let is_repeated = retry::may_repeat(error, exchange);
        if is_repeated {
            tracing::debug!(%error, "sending a request again");
            ctx.repeat(is_reused);
            self.figures.retried();
        }
        is_repeated
    }

    async fn fail(&self, session: &mut Session, error: &Error, ctx: &RequestContext) -> FailToProxy {
        let is_connecting = ctx.matched.is_some() && !ctx.is_connected;
        let failure = ctx.failure.unwrap_or_else(|| outcome::classify(error, is_connecting));
        let outcome = outcome::outcome(failure);
        metrics::counter!("postern_request_failures_total", "reason" => outcome.label).increment(1);
        log_failure(outcome.loudness, session, error, ctx);
        if let Some(status) = outcome.status {
            let answer = respond::Answer::new(status, failure.message()).closing();
            if let Err(error) = respond::respond(session, &answer, &ctx.request_id).await {
                tracing::debug!(%error, "cannot answer a failed request");
            }
        }
        let error_code = outcome.status.map_or(0, |status| status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn finish(&self, session: &Session, ctx: &mut RequestContext) {
        ctx.head = None;
        let Some(Connection { listener, client, .. }) = connection::of(session) else { return };
        let status = session.response_written().map(|response| response.status.as_u16());
        let took = ctx.started.elapsed();
        let by = if ctx.answered.is_some() { Answerer::Upstream } else { Answerer::Gateway };
        self.figures.answered(*listener, status, by, took);
        if self.settings.load().access_log {
            access::log(session, ctx, *client, status, took);
        }
    }
}

fn is_websocket(request: &RequestHeader) -> bool {
    request.version == http::Version::HTTP_11
        && request.headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn log_failure(loudness: Loudness, session: &Session, error: &Error, ctx: &RequestContext) {
    let host = admit::authority(session.req_header()).unwrap_or_default();
    let cluster = ctx.matched.as_ref().map(Matched::cluster);
    match loudness {
        Loudness::Debug => tracing::debug!(host, cluster, %error, "request failed"),
        Loudness::Warn => tracing::warn!(host, cluster, %error, "request failed"),
        Loudness::Error => tracing::error!(host, cluster, %error, "request failed"),
    }
}

impl std::fmt::Debug for Postern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postern").field("settings", &self.settings).finish_non_exhaustive()
    }
}
