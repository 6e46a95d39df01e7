//! The access log: a line per request, through the tracing target `access`.

use std::fmt::Display;
use std::time::Duration;

use crate::connection::Connection;
use crate::message::RequestHead;
use crate::route::Matched;

use super::record::Record;

/// The tracing target of access lines; switch it off with `access=off` in the log filter.
pub const TARGET: &str = "access";

/// Returns `true` if lines are wanted. Costs one check when the target is off.
pub(super) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// The end of a request, as its line says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// `request` or, if it was not served to its end, `request cancelled`.
    pub(super) message: &'static str,
    pub(super) status: Option<u16>,
    /// Bytes of the response body; `None` if nobody knows.
    pub(super) bytes: Option<u64>,
    pub(super) took: Duration,
}

/// Writes the line of a request that the connection has refused: nothing of it is certain but its end.
pub(super) fn log_refused(connection: &Connection, status: u16, reason: &'static str) {
    tracing::info!(target: TARGET, client = %connection.client, status, reason, "request refused");
}

/// Writes the line of a request. `client` is the peer, or who it speaks for; then the line has `peer` too.
pub(super) fn log(connection: &Connection, head: &RequestHead, authority: &[u8], record: &Record, end: &End) {
    let endpoint = record.endpoint.map(tracing::field::display);
    let client: &dyn Display = record.client.as_ref().map_or(&connection.client, |client| client);
    let peer = record.client.map(|_| tracing::field::display(connection.client));
    tracing::info!(
        target: TARGET,
        client = %client,
        peer,
        method = head.method.as_str(),
        host = &*String::from_utf8_lossy(authority),
        path = &*String::from_utf8_lossy(head.path()),
        protocol = head.version.as_str(),
        status = end.status.unwrap_or_default(),
        bytes = end.bytes,
        seconds = end.took.as_secs_f64(),
        endpoint = endpoint,
        cluster = record.matched.as_ref().map(Matched::cluster),
        retries = record.tries.saturating_sub(1),
        request_id = &*String::from_utf8_lossy(&record.request_id),
        "{}", end.message
    );
}
