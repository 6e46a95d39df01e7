//! The record of one request, from its head to its access-log line and its metrics.

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::ledger::{Reservation, Shortage};
use crate::message::{Authority, RequestHead};
use crate::route::Matched;
use crate::upstream::Attempts;

use super::access::{self, End};
use super::forwarded::RequestId;
use super::metrics::{Metrics, Responder};

/// The state of one request.
#[derive(Debug)]
pub(super) struct Record {
    /// When the request's head had been read.
    pub(super) started: Instant,
    /// The client's address, if a proxy in front has stated it.
    pub(super) client: Option<IpAddr>,
    /// Its id; empty until it is admitted.
    pub(super) request_id: RequestId,
    /// The route that was taken.
    pub(super) matched: Option<Matched>,
    /// The endpoint it is with, or was with last.
    pub(super) endpoint: Option<SocketAddr>,
    /// The endpoints that failed.
    pub(super) attempts: Attempts,
    /// The number of endpoints it was on its way to, those that took no connection included; waiting for one is no try.
    pub(super) tries: u32,
    /// Times that it was sent again.
    pub(super) repeats: u32,
    /// Times that a fresh connection broke under it.
    pub(super) breaks: u32,
    /// The status of the final response, once it has been sent.
    pub(super) status: Option<u16>,
    /// Whether an endpoint made that response.
    pub(super) is_of_endpoint: bool,
}

impl Record {
    pub(super) fn new() -> Self {
        let started = Instant::now();
        Self {
            started,
            client: None,
            request_id: SmallVec::new(),
            matched: None,
            endpoint: None,
            attempts: Attempts::since(started),
            tries: 0,
            repeats: 0,
            breaks: 0,
            status: None,
            is_of_endpoint: false,
        }
    }
}

/// A request under way: counted and logged when it ends, however it does.
pub(super) struct UnderWay<'a> {
    pub(super) connection: &'a Connection,
    pub(super) head: RequestHead,
    /// The authority as the client sent it, where a route has replaced the head's.
    pub(super) replaced: Option<Authority>,
    pub(super) record: Record,
    /// The memory of its state and head, or the reason why there is none.
    pub(super) memory: Result<Reservation, Shortage>,
    metrics: &'a Metrics,
    logs_access: bool,
    has_ended: bool,
}

impl<'a> UnderWay<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        head: RequestHead,
        memory: Result<Reservation, Shortage>,
        metrics: &'a Metrics,
        logs_access: bool,
    ) -> Self {
        let record = Record::new();
        Self { connection, head, replaced: None, record, memory, metrics, logs_access, has_ended: false }
    }

    /// Returns the authority as the client sent it.
    pub(super) fn authority(&self) -> &[u8] {
        self.replaced.as_deref().unwrap_or(&self.head.authority)
    }

    /// The request has been served to its end.
    pub(super) fn end(&mut self, bytes: u64) {
        self.finish("request", Some(bytes));
    }

    fn finish(&mut self, message: &'static str, bytes: Option<u64>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let took = self.record.started.elapsed();
        let by = if self.record.is_of_endpoint { Responder::Upstream } else { Responder::Gateway };
        self.metrics.responded(self.connection.listener, self.record.status, by, took);
        if self.logs_access && access::is_wanted() {
            let end = End { message, status: self.record.status, bytes, took };
            access::log(self.connection, &self.head, self.authority(), &self.record, &end);
        }
    }
}

impl Drop for UnderWay<'_> {
    /// A request whose stream is reset, or that is cut off with its connection at the end of a drain, ends in the middle.
    fn drop(&mut self) {
        self.finish("request cancelled", None);
    }
}
