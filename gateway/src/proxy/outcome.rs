//! Outcomes: what a failed request is answered with, how loudly it is logged and what it is counted as.

use http::StatusCode;
use pingora_error::{Error, ErrorSource, ErrorType};

use crate::upstream::Unavailable;

use super::hygiene::Refusal;

/// Why a request failed, by the side whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request is not acceptable.
    Refused(Refusal),
    /// The client's request is broken in a way that shows while it is proxied.
    BadRequest,
    /// The client is gone.
    ClientGone,
    /// The client was too slow.
    ClientTimeout,
    /// No endpoint can be reached.
    Unavailable(Unavailable),
    /// The upstream broke off, or what it said is not HTTP.
    UpstreamBroken,
    /// The upstream was silent for too long.
    UpstreamTimeout,
    /// A fault of this program.
    Internal,
}

/// How loudly a failure is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Happens all the time.
    Debug,
    /// Something behind us is degraded.
    Warn,
    /// A person is needed.
    Error,
}

/// What becomes of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer; `None` when there is nobody to answer.
    pub status: Option<StatusCode>,
    /// How loudly it is logged.
    pub loudness: Loudness,
    /// The value of the label `reason`.
    pub label: &'static str,
}

/// The table of outcomes.
pub fn outcome(failure: Failure) -> Outcome {
    let of = |status, loudness, label| Outcome { status: Some(status), loudness, label };
    match failure {
        Failure::Refused(refusal) => of(refusal.status(), Loudness::Debug, "refused"),
        Failure::BadRequest => of(StatusCode::BAD_REQUEST, Loudness::Debug, "bad_request"),
        Failure::ClientGone => Outcome { status: None, loudness: Loudness::Debug, label: "client_gone" },
        Failure::ClientTimeout => of(StatusCode::REQUEST_TIMEOUT, Loudness::Debug, "client_timeout"),
        Failure::Unavailable(Unavailable::Crowded) => of(StatusCode::SERVICE_UNAVAILABLE, Loudness::Warn, "crowded"),
        Failure::Unavailable(_) => of(StatusCode::SERVICE_UNAVAILABLE, Loudness::Warn, "unavailable"),
        Failure::UpstreamBroken => of(StatusCode::BAD_GATEWAY, Loudness::Warn, "upstream_broken"),
        Failure::UpstreamTimeout => of(StatusCode::GATEWAY_TIMEOUT, Loudness::Warn, "upstream_timeout"),
        Failure::Internal => of(StatusCode::INTERNAL_SERVER_ERROR, Loudness::Error, "internal"),
    }
}

/// What an error of pingora means. `is_connecting`: no connection to the upstream had come about yet.
pub fn classify(error: &Error, is_connecting: bool) -> Failure {
    use ErrorType::{
        ConnectionClosed, H2Error, HTTPStatus, InvalidHTTPHeader, ReadError, ReadTimedout, WriteError, WriteTimedout,
    };
    match (&error.esource, &error.etype) {
        (ErrorSource::Downstream, ReadTimedout | WriteTimedout) => Failure::ClientTimeout,
        (ErrorSource::Downstream, ReadError | WriteError | ConnectionClosed | H2Error) => Failure::ClientGone,
        (ErrorSource::Downstream, _) | (_, HTTPStatus(400..=499)) => Failure::BadRequest,
        (ErrorSource::Upstream, _) if is_connecting => Failure::Unavailable(Unavailable::Unreachable),
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => Failure::UpstreamTimeout,
        // Without a side: an answer that can't be passed on, such as a 101 that nobody asked for.
        (ErrorSource::Upstream, _) | (_, InvalidHTTPHeader) => Failure::UpstreamBroken,
        _ => Failure::Internal,
    }
}

impl Failure {
    /// One line for the client.
    pub fn message(self) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Unavailable(reason) => reason.to_string(),
            Self::BadRequest => "the request is not valid".to_owned(),
            Self::ClientGone => "the client is gone".to_owned(),
            Self::ClientTimeout => "the request took too long to arrive".to_owned(),
            Self::UpstreamBroken => "the service broke off before it answered".to_owned(),
            Self::UpstreamTimeout => "the service did not answer in time".to_owned(),
            Self::Internal => "the gateway failed".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_cannot_be_reached_is_503_whatever_went_wrong() {
        for etype in [
            ErrorType::ConnectRefused,
            ErrorType::ConnectTimedout,
            ErrorType::ConnectNoRoute,
            ErrorType::ConnectError,
            ErrorType::SocketError,
            ErrorType::H2Error,
            ErrorType::InternalError,
        ] {
            let error = Error::new_up(etype);
            assert_eq!(outcome(classify(&error, true)).status, Some(StatusCode::SERVICE_UNAVAILABLE), "{error}");
        }
    }

    #[test]
    fn each_side_has_its_own_status() {
        for (error, status) in [
            (Error::new_up(ErrorType::ConnectionClosed), Some(502)),
            (Error::new_up(ErrorType::ReadTimedout), Some(504)),
            (Error::new_down(ErrorType::InvalidHTTPHeader), Some(400)),
            (Error::new_down(ErrorType::ReadTimedout), Some(408)),
            (Error::new_down(ErrorType::WriteError), None),
            (Error::new_in(ErrorType::InvalidHTTPHeader), Some(502)),
            (Error::new_in(ErrorType::InternalError), Some(500)),
        ] {
            let got = outcome(classify(&error, false)).status.map(|status| status.as_u16());
            assert_eq!(got, status, "{error}");
        }
    }
}
