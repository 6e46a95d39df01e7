//! The access log: a line per request, through the tracing target `access`.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Method, Uri, Version, header};
use pingora_proxy::Session;

use crate::connection;
use crate::route::Matched;

use super::admit::{authority, authority_of};
use super::context::RequestContext;

/// The tracing target of access lines; switch it off with `access=off` in the log filter.
pub const TARGET: &str = "access";

/// What a request's line says of its head, kept for a request that is given up: its session is gone by then.
#[derive(Debug)]
pub(super) struct Head {
    client: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
}

impl Head {
    /// Of a request, if its line is wanted. It shares the head's memory.
    pub(super) fn of(session: &Session) -> Option<Self> {
        if !is_wanted() {
            return None;
        }
        let (client, request) = (connection::of(session)?.client, session.req_header());
        Some(Self {
            client,
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            host: request.headers.get(header::HOST).cloned(),
        })
    }

    /// Writes the line of a request that has ended before its answer had. How much of that was sent nobody knows.
    pub(super) fn log(&self, ctx: &RequestContext) {
        let Self { client, ref method, ref uri, version, ref host } = *self;
        let host = authority_of(version, uri, host.as_ref());
        let (status, took) = (ctx.answered.map(|status| status.as_u16()), ctx.started.elapsed());
        let line = Line { client, method, host, uri, version, status, bytes: None, took };
        line.write(ctx, "request given up");
    }
}

/// Writes the line of a request. Costs one check when the target is off.
pub(super) fn log(session: &Session, ctx: &RequestContext, client: SocketAddr, status: Option<u16>, took: Duration) {
    if !is_wanted() {
        return;
    }
    let request = session.req_header();
    let line = Line {
        client,
        method: &request.method,
        host: authority(request),
        uri: &request.uri,
        version: request.version,
        status,
        bytes: Some(session.body_bytes_sent()),
        took,
    };
    line.write(ctx, "request");
}

fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// What a line says besides what the context knows.
struct Line<'a> {
    client: SocketAddr,
    method: &'a Method,
    host: Option<&'a str>,
    uri: &'a Uri,
    version: Version,
    status: Option<u16>,
    bytes: Option<usize>,
    took: Duration,
}

impl Line<'_> {
    fn write(&self, ctx: &RequestContext, message: &str) {
        let endpoint = ctx.choice.as_ref().map(|choice| choice.endpoint.address());
        tracing::info!(
            target: TARGET,
            client = %self.client,
            method = self.method.as_str(),
            host = self.host.unwrap_or_default(),
            path = self.uri.path(),
            protocol = ?self.version,
            status = self.status.unwrap_or_default(),
            bytes = self.bytes,
            seconds = self.took.as_secs_f64(),
            endpoint = endpoint.map(tracing::field::display),
            cluster = ctx.matched.as_ref().map(Matched::cluster),
            retries = ctx.tries.saturating_sub(1),
            request_id = ctx.request_id.to_str().unwrap_or_default(),
            "{message}"
        );
    }
}
