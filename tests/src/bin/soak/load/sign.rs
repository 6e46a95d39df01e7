//! What a failure looks like from the client's side.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use http::{HeaderMap, StatusCode, header};
use postern_tests::Error;
use postern_tests::client::tls;
use rustls::AlertDescription;
use tokio_tungstenite::tungstenite;

use crate::order::Sign;

/// Of a handshake, from connecting on.
pub(super) fn of_handshake(error: &Error) -> Sign {
    if tls::alert(error) == Some(AlertDescription::InternalError) {
        Sign::NoCertificate
    } else if error.downcast_ref::<io::Error>().is_some_and(is_end) {
        Sign::Closed
    } else {
        Sign::Other
    }
}

/// Whether the load itself could not connect: it has no file or no address left.
pub(super) fn is_own_fault(error: &Error) -> bool {
    use rustix::io::Errno;
    let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let own = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL];
    code.is_some_and(|code| own.iter().any(|errno| errno.raw_os_error() == code))
}

/// Of a request, until its answer begins.
pub(super) fn of_request(error: &Error) -> Sign {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if is_leaving(error) {
            return Sign::Leaving;
        }
        cause = error.source();
    }
    Sign::Other
}

/// Of a WebSocket that did not come about.
pub(super) fn of_upgrade(error: &Error) -> Sign {
    use tungstenite::error::ProtocolError;
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Http(answer)) => of_answer(answer.status(), answer.headers()),
        Some(tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete)) => Sign::Leaving,
        _ => of_request(error),
    }
}

/// Of an answer that is none.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Sign {
    let retry_after = status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(header::RETRY_AFTER);
    if retry_after { Sign::RetryAfter } else { Sign::Other }
}

/// [`of_answer`], of a head as text.
pub(super) fn of_head(status: u16, head: &str) -> Sign {
    let has_retry_after = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(header::RETRY_AFTER.as_str()))
    });
    if status == 503 && has_retry_after { Sign::RetryAfter } else { Sign::Other }
}

fn is_leaving(error: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_closed() || error.is_canceled() || error.is_incomplete_message();
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        // What was refused has not been looked at (RFC 9113 §8.7); what a GOAWAY leaves out has not either (§6.8).
        return error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
            || error.get_io().is_some_and(is_end);
    }
    error.downcast_ref::<io::Error>().is_some_and(is_end)
}

/// The other side is gone.
fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: ErrorKind) -> Error {
        io::Error::from(kind).into()
    }

    #[test]
    fn a_closed_handshake_is_told_from_one_that_failed() {
        assert_eq!(of_handshake(&io(ErrorKind::ConnectionReset)), Sign::Closed);
        assert_eq!(of_handshake(&io(ErrorKind::UnexpectedEof)), Sign::Closed);
        // Nobody listens, no file is free, or nobody answers.
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::Other, ErrorKind::TimedOut] {
            assert_eq!(of_handshake(&io(kind)), Sign::Other, "{kind}");
        }
        assert_eq!(of_handshake(&"a handshake did not come within 20s".into()), Sign::Other);
    }

    #[test]
    fn a_load_that_is_out_of_files_does_not_blame_the_gateway() {
        let of = |errno: rustix::io::Errno| -> Error { io::Error::from_raw_os_error(errno.raw_os_error()).into() };
        assert!(is_own_fault(&of(rustix::io::Errno::MFILE)) && is_own_fault(&of(rustix::io::Errno::ADDRNOTAVAIL)));
        assert!(!is_own_fault(&of(rustix::io::Errno::CONNREFUSED)) && !is_own_fault(&io(ErrorKind::UnexpectedEof)));
    }

    #[test]
    fn only_an_alert_that_says_so_means_that_there_is_no_certificate() {
        let alert = |alert| -> Error { io::Error::other(rustls::Error::AlertReceived(alert)).into() };
        assert_eq!(of_handshake(&alert(AlertDescription::InternalError)), Sign::NoCertificate);
        assert_eq!(of_handshake(&alert(AlertDescription::UnrecognisedName)), Sign::Other);
    }

    #[test]
    fn only_503_that_says_when_to_come_back_is_a_refusal() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_answer(StatusCode::SERVICE_UNAVAILABLE, &headers), Sign::Other);
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        assert_eq!(of_answer(StatusCode::SERVICE_UNAVAILABLE, &headers), Sign::RetryAfter);
        assert_eq!(of_answer(StatusCode::BAD_GATEWAY, &headers), Sign::Other);
        assert_eq!(of_head(503, "HTTP/1.1 503 Busy\r\nretry-after: 5\r\n\r\n"), Sign::RetryAfter);
        assert_eq!(of_head(503, "HTTP/1.1 503 Retry-After\r\n\r\n"), Sign::Other);
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_the_answer_begins_is_leaving() {
        use http_body_util::Full;
        let (client, server) = tokio::io::duplex(1_024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<bytes::Bytes>>(hyper_util::rt::TokioIo::new(client))
                .await
                .unwrap();
        let driver = tokio::spawn(connection);
        drop(server);
        let error = sender.send_request(http::Request::new(Full::default())).await.unwrap_err();
        assert_eq!(of_request(&error.into()), Sign::Leaving);
        drop(driver.await.unwrap());
        assert_eq!(of_request(&"answered 404 with 9 bytes instead of 200".into()), Sign::Other);
    }
}
