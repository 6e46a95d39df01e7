//! Failed requests: the response, the log level and the metric label of each kind of failure.

use http::StatusCode;

use crate::exchange::relay::Broken;
use crate::exchange::{ClientError, EndpointError};
use crate::ledger::Shortage;
use crate::upstream::Unavailable;

use super::validate::RejectReason;

/// The reason why a request failed, by the side whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request is not acceptable.
    Rejected(RejectReason),
    /// The client is gone.
    ClientGone,
    /// The client was too slow.
    ClientTimeout,
    /// The framing of the request's body is not valid.
    BadRequest,
    /// No endpoint can be reached.
    Unavailable(Unavailable),
    /// The endpoint broke off, or what it said is not HTTP.
    UpstreamBroken,
    /// The endpoint was silent for too long.
    UpstreamTimeout,
    /// There is no memory for the request.
    Shortage(Shortage),
    /// Others need the memory of a request whose client takes nothing.
    Shed,
    /// The process is short of memory as a whole.
    Overload,
}

/// The log level of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Happens all the time.
    Debug,
    /// Something behind the gateway is degraded, or memory is short.
    Warn,
}

/// The consequence of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// The response; `None` where nobody is there to take it.
    pub status: Option<StatusCode>,
    /// The log level.
    pub severity: Severity,
    /// The value of the label `reason`.
    pub label: &'static str,
}

impl Failure {
    /// Returns the consequence: the one table of failures.
    pub fn consequence(self) -> Consequence {
        let with = |status, severity, label| Consequence { status: Some(status), severity, label };
        match self {
            Self::Rejected(reason) => with(reason.status(), Severity::Debug, "refused"),
            Self::BadRequest => with(StatusCode::BAD_REQUEST, Severity::Debug, "bad_request"),
            Self::ClientGone => Consequence { status: None, severity: Severity::Debug, label: "client_gone" },
            Self::ClientTimeout => with(StatusCode::REQUEST_TIMEOUT, Severity::Debug, "client_timeout"),
            Self::Unavailable(Unavailable::Crowded) => with(StatusCode::SERVICE_UNAVAILABLE, Severity::Warn, "crowded"),
            Self::Unavailable(_) => with(StatusCode::SERVICE_UNAVAILABLE, Severity::Warn, "unavailable"),
            Self::UpstreamBroken => with(StatusCode::BAD_GATEWAY, Severity::Warn, "upstream_broken"),
            Self::UpstreamTimeout => with(StatusCode::GATEWAY_TIMEOUT, Severity::Warn, "upstream_timeout"),
            Self::Shortage(_) => with(StatusCode::SERVICE_UNAVAILABLE, Severity::Debug, "source_memory"),
            Self::Shed => with(StatusCode::SERVICE_UNAVAILABLE, Severity::Debug, "shed"),
            Self::Overload => with(StatusCode::SERVICE_UNAVAILABLE, Severity::Debug, "overload"),
        }
    }

    /// Returns one line for the client.
    pub fn message(self) -> String {
        match self {
            Self::Rejected(reason) => reason.to_string(),
            Self::Unavailable(reason) => reason.to_string(),
            Self::Shortage(reason) => reason.to_string(),
            Self::BadRequest => "the request is not valid".to_owned(),
            Self::ClientGone => "the client is gone".to_owned(),
            Self::ClientTimeout => "the request took too long to arrive".to_owned(),
            Self::UpstreamBroken => "the service broke off before it answered".to_owned(),
            Self::UpstreamTimeout => "the service did not answer in time".to_owned(),
            Self::Shed | Self::Overload => "the gateway is short of memory".to_owned(),
        }
    }

    /// Returns `true` if the client should come back in a few seconds.
    pub(super) fn is_shortage(self) -> bool {
        matches!(self, Self::Shortage(_) | Self::Shed | Self::Overload)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Client(ClientError::Gone) => Self::ClientGone,
            Broken::Client(ClientError::TimedOut) => Self::ClientTimeout,
            Broken::Client(ClientError::Malformed) => Self::BadRequest,
            Broken::Endpoint(EndpointError::TimedOut) => Self::UpstreamTimeout,
            Broken::Endpoint(EndpointError::Broken | EndpointError::NotProcessed | EndpointError::Malformed) => {
                Self::UpstreamBroken
            }
            Broken::BodyTooLarge => Self::Rejected(RejectReason::BodyTooLarge),
            Broken::Shed | Broken::Client(ClientError::Shortage) => Self::Shed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_own_status() {
        for (broken, status) in [
            (Broken::Endpoint(EndpointError::Broken), Some(502)),
            (Broken::Endpoint(EndpointError::Malformed), Some(502)),
            (Broken::Endpoint(EndpointError::TimedOut), Some(504)),
            (Broken::Client(ClientError::Malformed), Some(400)),
            (Broken::Client(ClientError::TimedOut), Some(408)),
            (Broken::Client(ClientError::Gone), None),
            (Broken::BodyTooLarge, Some(413)),
            (Broken::Shed, Some(503)),
        ] {
            let got = Failure::from(broken).consequence().status.map(|status| status.as_u16());
            assert_eq!(got, status, "{broken:?}");
        }
    }
}
