//! What the faults that strike a request do to it together.

use std::time::Duration;

use serde::Deserialize;

use super::super::error::ApiError;
use super::Fault;

/// How a watch's events differ from what happened. The last event of every object is always its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distortion {
    /// Each comes this many times more.
    Repeat(usize),
    /// Events of different objects come in the reverse order.
    Reorder,
    /// Each is followed by the object's state before it, and comes again.
    Stale,
}

/// Why there is no proper answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// This error.
    Error(ApiError),
    /// A reset.
    Reset,
    /// Silence.
    Stall,
}

/// How a watch ends early.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// As one does whose time is over.
    Quietly,
    /// By a reset.
    Reset,
    /// After an error event.
    Error(ApiError),
}

/// What happens to a request.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// It waits.
    pub delay: Duration,
    /// It is not answered properly.
    pub refusal: Option<Refusal>,
    /// The answer's body ends in a reset after so many bytes.
    pub reset_after: Option<u64>,
    /// A watch ends after so many events.
    pub end_after_events: Option<(u64, End)>,
    /// A watch ends after a while.
    pub end_after: Option<(Duration, End)>,
    /// The version that is asked for counts as forgotten.
    pub gone: bool,
    /// A watch's events are not what they should be.
    pub distortions: Vec<Distortion>,
}

impl Plan {
    pub(super) fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Delay { by } => self.delay += *by,
            Fault::Status { code, retry_after_seconds } => {
                self.refuse(Refusal::Error(status(*code, *retry_after_seconds)));
            }
            Fault::Reset => self.refuse(Refusal::Reset),
            Fault::Stall => self.refuse(Refusal::Stall),
            Fault::ResetAfter { bytes } => self.reset_after = Some(*bytes),
            Fault::DropWatch { events, after, reset } => {
                let end = if *reset { End::Reset } else { End::Quietly };
                if let Some(events) = events {
                    self.end_after_events = Some((*events, end.clone()));
                }
                if let Some(after) = after {
                    self.end_after = Some((*after, end));
                }
            }
            Fault::Gone => self.gone = true,
            Fault::ErrorEvent { events, code } => {
                self.end_after_events = Some((*events, End::Error(status(*code, None))));
            }
            Fault::Distort { how } => self.distortions.push(*how),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }
}

/// A status as a real server sends it under load or in trouble.
fn status(code: u16, retry_after_seconds: Option<u32>) -> ApiError {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden by a fault of the simulation"),
        409 => {
            ("Conflict", "the object has been modified; please apply your changes to the latest version and try again")
        }
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => ("ServiceUnavailable", "apiserver is shutting down"),
        504 => ("Timeout", "request did not complete within the requested timeout"),
        _ => ("InternalError", "an error on the server has prevented the request from succeeding"),
    };
    let mut error = ApiError::new(code, reason, message);
    if let Some(seconds) = retry_after_seconds {
        error.details = Some(Box::new(serde_json::json!({"retryAfterSeconds": seconds})));
    }
    error
}
