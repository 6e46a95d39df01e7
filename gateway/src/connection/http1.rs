//! HTTP/1.1 keep-alive: one request after the other, and next to nothing held while waiting for one.
//!
//! pingora's own loop waits for a request with the session and its request future allocated; this one waits with the
//! stream alone.

use std::os::fd::AsRawFd;
use std::time::Duration;

use pingora_core::apps::{HttpPersistentSettings, HttpServerApp};
use pingora_core::protocols::Shutdown;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::ProxyHttp;
use tokio::time::Instant;

use super::bodies::{self, Accounts};
use super::header_phase::GATE;
use super::service::{Service, Watches};
use super::stream::Downstream;
use super::{Closed, Settings, pipelined};
use crate::drain::Phase;

/// Serves the requests of a connection until it is closed.
pub(super) async fn serve<P>(mut stream: Box<Downstream>, service: &Service<P>, watches: &Watches)
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    let mut carried: Option<HttpPersistentSettings> = None;
    loop {
        let (idle_timeout, _) = service.timeouts();
        let held = carried.as_ref().and_then(pipelined::head_in);
        if held.is_none() && !await_bytes(&mut stream, idle_timeout, watches).await {
            return;
        }
        let gate = stream.begin_request(held);
        if stream.refuse_header().await {
            return;
        }
        let session = next_session(stream, carried, &service.settings.load());
        let stall = service.settings.load().write_stall_timeout;
        let serving = GATE.scope(gate, service.http.process_new_http(session, &watches.shutdown));
        let accounts = Accounts { pressure: watches.pressure.clone(), connection: None };
        let Ok(served) = bodies::watch(accounts, stall, serving).await else {
            return;
        };
        let Some((io, settings)) = served.map(pingora_core::apps::ReusedHttpStream::consume) else {
            return;
        };
        let Ok(back) = io.into_any().downcast::<Downstream>() else {
            return;
        };
        (stream, carried) = (back, settings);
    }
}

fn next_session(
    stream: Box<Downstream>,
    carried: Option<HttpPersistentSettings>,
    settings: &Settings,
) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    if let Some(carried) = carried {
        carried.apply_to_session(&mut session);
    } else {
        session.set_keepalive_reuses_remaining(Some(settings.max_requests.saturating_sub(1)));
        session.set_pipelining_enabled(true);
    }
    // No timeout of pingora's between reads: the stream has a deadline for the whole header.
    session.set_keepalive(Some(0));
    session
}

/// Waits until the client has sent something; false when the connection is to end instead, and then it is closed.
pub(super) async fn await_bytes(stream: &mut Downstream, patience: Duration, watches: &Watches) -> bool {
    if stream.has_bytes() {
        return true;
    }
    let number = usize::try_from(stream.as_raw_fd()).unwrap_or_default();
    let mut drain = watches.drain.clone();
    let closing = async {
        // An error means that nobody can start a drain any more.
        if drain.wait_for(|phase| *phase >= Phase::Closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        biased;
        filled = stream.fill() => match filled {
            Ok(true) => return true,
            Ok(false) => None,
            Err(_) => return false,
        },
        () = closing => Some(Closed::Drained),
        () = tokio::time::sleep(patience) => Some(Closed::IdleTimeout),
        () = watches.pressure.leave(number, Instant::now()) => Some(Closed::Overload),
    };
    if let Some(reason) = ended {
        reason.count();
    }
    stream.shutdown().await;
    false
}
