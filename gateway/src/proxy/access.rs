//! The access log: a line per request, through the tracing target `access`.

use std::net::SocketAddr;
use std::time::Duration;

use pingora_proxy::Session;

use crate::route::Matched;

use super::admit::authority;
use super::context::RequestContext;

/// The tracing target of access lines; switch it off with `access=off` in the log filter.
pub const TARGET: &str = "access";

/// Writes the line of a request. Costs one check when the target is off.
pub(super) fn log(session: &Session, ctx: &RequestContext, client: SocketAddr, status: Option<u16>, took: Duration) {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return;
    }
    let request = session.req_header();
    let endpoint = ctx.choice.as_ref().map(|choice| choice.endpoint.address());
    tracing::info!(
        target: TARGET,
        %client,
        method = request.method.as_str(),
        host = authority(request).unwrap_or_default(),
        path = request.uri.path(),
        protocol = ?request.version,
        status = status.unwrap_or_default(),
        bytes = session.body_bytes_sent(),
        seconds = took.as_secs_f64(),
        endpoint = endpoint.map(tracing::field::display),
        cluster = ctx.matched.as_ref().map(Matched::cluster),
        retries = ctx.tries.saturating_sub(1),
        request_id = ctx.request_id.to_str().unwrap_or_default(),
        "request"
    );
}
