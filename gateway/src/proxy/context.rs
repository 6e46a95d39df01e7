//! What is remembered of a request from its first filter to its log line.

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::route::Matched;
use crate::upstream::{Attempts, Choice};

use super::access;
use super::outcome::Failure;

/// The state of one request.
#[derive(Debug)]
pub struct RequestContext {
    /// When the request's head had been read.
    pub(super) started: Instant,
    /// Its id; empty until it is admitted.
    pub(super) request_id: HeaderValue,
    /// The route that was taken.
    pub(super) matched: Option<Matched>,
    /// The endpoint it is with, or goes to.
    pub(super) choice: Option<Choice>,
    /// The endpoints that failed.
    pub(super) attempts: Attempts,
    /// How many endpoints it was on its way to, those that took no connection included; waiting for one is no try.
    pub(super) tries: u32,
    /// How often it was sent again.
    pub(super) repeats: u32,
    /// How often a fresh connection broke under it.
    pub(super) breaks: u32,
    /// How many bytes of its body have come.
    pub(super) body_bytes: u64,
    /// Whether it asks for a WebSocket.
    pub(super) is_upgrade: bool,
    /// Whether a connection to the endpoint has come about.
    pub(super) is_connected: bool,
    /// How the upstream has begun to answer.
    pub(super) answered: Option<StatusCode>,
    /// Why it failed, where that is known better than by pingora's error.
    pub(super) failure: Option<Failure>,
    /// From when it goes to an endpoint until it has its line in the access log.
    pub(super) head: Option<access::Head>,
}

impl Drop for RequestContext {
    /// A request that is given up (see `connection::bodies`), or cut off with its connection at the end of a
    /// drain, ends between two callbacks.
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            head.log(self);
        }
    }
}

impl Default for RequestContext {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            request_id: HeaderValue::from_static(""),
            matched: None,
            choice: None,
            attempts: Attempts::default(),
            tries: 0,
            repeats: 0,
            breaks: 0,
            body_bytes: 0,
            is_upgrade: false,
            is_connected: false,
            answered: None,
            failure: None,
            head: None,
        }
    }
}

impl RequestContext {
    /// The request is sent again. Elsewhere, if an endpoint broke off under it: that one is likely to be restarting.
    pub(super) fn repeat(&mut self, was_reused: bool) {
        self.repeats += 1;
        if was_reused {
            return;
        }
        self.breaks += 1;
        if let Some(choice) = &self.choice {
            self.attempts.failed(choice.endpoint.address());
        }
    }

    /// A connection to the endpoint has come about.
    pub(super) fn connected(&mut self) {
        self.is_connected = true;
        if let Some(choice) = &self.choice {
            choice.endpoint.connected();
        }
    }
}
