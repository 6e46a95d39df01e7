//! The service behind all listeners: tells protocols apart and hands connections to their loops.

use std::fmt;
use std::sync::Arc;
use std::task::{Poll, ready};

use super::wire::Wire;
use super::{Connection, Settings};
use crate::drain::{DrainWatch, Phase};
use crate::exchange::Handler;
use crate::listener::{Admission, Permit};
use crate::live::Live;
use crate::overload::Pressure;
use crate::tls::Terminator;
use crate::{http1, http2};

/// Serves the connections that listeners accept.
pub struct Service<H> {
    /// Serves the requests.
    pub handler: Arc<H>,
    /// Terminates TLS on the listeners that have it.
    pub tls: Arc<Terminator>,
    /// Counts connections and handshakes, and limits them.
    pub admission: Arc<Admission>,
    /// Limits of a connection; those of HTTP/2 stay as they were when it began.
    pub settings: Live<Settings>,
}

impl<H> fmt::Debug for Service<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The state of the process that a connection follows while it is served.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    /// The phase of the process.
    pub(crate) drain: DrainWatch,
    /// The memory pressure.
    pub(crate) pressure: Pressure,
}

impl<H: Handler> Service<H> {
    /// Serves one connection until it ends. `http2` is what ALPN chose; `None` without TLS.
    pub(crate) async fn serve(
        &self,
        mut wire: Wire,
        connection: Connection,
        http2: Option<bool>,
        mut permit: Permit,
        watches: &Watches,
    ) {
        let http2 = match http2 {
            Some(http2) => http2,
            None => Box::pin(self.is_http2(&mut wire, watches)).await,
        };
        // Boxed, each of them: a connection keeps no room for what it does not do.
        if !http2 {
            Box::pin(http1::serve(wire, connection, &*self.handler, &self.settings, watches)).await;
        } else if permit.speaks_http2().is_ok() {
            Box::pin(http2::serve(wire, connection, &*self.handler, &permit, &self.settings, watches)).await;
        }
    }

    /// Returns `true` if a client without TLS speaks HTTP/2 with prior knowledge (RFC 9113 §3.3). Reads as little as it takes
    /// to tell; whoever sends nothing, or less than tells, is left to HTTP/1.1, which waits with its own limits.
    async fn is_http2(&self, wire: &mut Wire, watches: &Watches) -> bool {
        const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let telling = std::future::poll_fn(|cx| {
            loop {
                let count = wire.ahead().len().min(PREFACE.len());
                if wire.ahead()[..count] != PREFACE[..count] || count == PREFACE.len() {
                    return Poll::Ready(count == PREFACE.len() && wire.ahead()[..count] == PREFACE[..]);
                }
                match ready!(wire.poll_fill(cx)) {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return Poll::Ready(false),
                }
            }
        });
        let patience = {
            let settings = self.settings.load();
            settings.header_timeout.min(settings.idle_timeout)
        };
        let mut drain = watches.drain.clone();
        tokio::select! {
            is_http2 = telling => is_http2,
            () = tokio::time::sleep(patience) => false,
            Ok(_) = drain.wait_for(|phase| *phase >= Phase::Closing) => false,
        }
    }
}
