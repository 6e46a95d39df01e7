//! Connections of clients: one request after the other.

mod interrupts;
mod link;
mod next_request;
mod settle;
mod stream;

use std::os::fd::AsRawFd;

use self::interrupts::Interrupts;
use self::next_request::End;
use self::settle::After;
use self::stream::Http1Stream;
use super::fault::Fault;
use crate::connection::{Connection, Settings, Watches, Wire};
use crate::exchange::Handler;
use crate::live::Live;

/// What a connection follows while it is served.
#[derive(Clone, Copy, Debug)]
struct ServerContext<'a> {
    /// Limits, as they are now.
    settings: &'a Live<Settings>,
    /// The phase of the process, and its memory.
    watches: &'a Watches,
}

/// Serves the requests of a connection until it is closed.
///
/// Dropped, it drops the request that is under way and closes the connection.
pub(crate) async fn serve<H: Handler>(
    wire: Wire,
    connection: Connection,
    handler: &H,
    settings: &Live<Settings>,
    watches: &Watches,
) {
    let number = usize::try_from(wire.as_raw_fd()).unwrap_or_default();
    let mut interrupts = Interrupts::new(watches, number);
    let mut stream = Http1Stream::new(wire, ServerContext { settings, watches });
    let mut requests_left = settings.load().max_requests;
    loop {
        let parsed = match stream.next_request(&mut interrupts).await {
            Ok(parsed) => parsed,
            Err(End::Refused(fault)) => {
                handler.refused(&connection, fault.status(), fault.reason());
                return stream.refuse(fault).await;
            }
            Err(End::Close) => return stream.close().await,
            Err(End::Broken) => return,
        };
        requests_left = requests_left.saturating_sub(1);
        stream.begin(&parsed, requests_left > 0);
        // Boxed: an idle connection keeps no room for what a request needs.
        Box::pin(handler.handle(&connection, parsed.head, &mut stream)).await;
        match stream.settle().await {
            After::NextRequest => {}
            After::Close => return stream.close().await,
            After::Drop => return,
        }
    }
}

impl Http1Stream<'_> {
    /// Answers a request that is not valid, and closes the connection.
    async fn refuse(&mut self, fault: Fault) {
        if let Some(reason) = fault.closed() {
            reason.count();
        }
        self.link.output.tail().extend_from_slice(fault.response());
        if self.flush().await.is_ok() {
            self.close().await;
        }
    }

    /// Closes the connection so that the client receives what it was sent last.
    async fn close(&mut self) {
        Box::pin(self.link.wire.close()).await;
    }
}

#[cfg(test)]
mod tests;
