//! Bytes of a connection, both ways, with the time that a client may take for them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::super::input;
use super::super::output::Output;
use super::ServerContext;
use crate::connection::{Closed, Wire};
use crate::deadline::Deadline;
use crate::exchange::ClientError;

/// Time between two looks at a client that takes nothing: memory may have become short.
const LOOK: Duration = Duration::from_secs(5);

/// A connection with its buffers.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Wire,
    /// Bytes that were read and not consumed.
    pub(super) input: BytesMut,
    pub(super) output: Output,
    /// For whatever the connection waits.
    pub(super) deadline: Deadline,
    /// Since when the client has taken nothing that waits for it.
    stalled: Option<Instant>,
}

impl Link {
    pub(super) fn new(mut wire: Wire) -> Self {
        let input = wire.take_ahead();
        Self { wire, input, output: Output::default(), deadline: Deadline::default(), stalled: None }
    }

    /// Reads up to about `room` bytes behind what is there; 0 if the client sends nothing more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        Poll::Ready(end_is_end(ready!(input::poll_read(&mut self.wire, cx, &mut self.input, room))))
    }

    /// Hands what was written to the kernel. A client that takes nothing for too long is given up.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        context: &ServerContext<'_>,
    ) -> Poll<Result<(), ClientError>> {
        let before = self.output.len();
        let mut written = self.output.poll_drain(cx, &mut self.wire);
        if matches!(written, Poll::Ready(Ok(()))) {
            written = Pin::new(&mut self.wire).poll_flush(cx);
        }
        if let Poll::Ready(result) = written {
            self.stalled = None;
            return Poll::Ready(result.map_err(|_| ClientError::Gone));
        }
        if self.output.len() < before {
            self.stalled = None;
        }
        self.poll_stall(cx, context).map(Err)
    }

    /// Shuts down the sending half, `close_notify` first.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Pin::new(&mut self.wire).poll_shutdown(cx).map_err(|_| ClientError::Gone)
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>, context: &ServerContext<'_>) -> Poll<ClientError> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        loop {
            let patience = patience(context);
            if since.elapsed() >= patience {
                Closed::WriteStalled.count();
                return Poll::Ready(ClientError::TimedOut);
            }
            let look = (since + patience).min(Instant::now() + LOOK);
            ready!(self.deadline.poll(look, cx));
        }
    }
}

/// Returns the time for which a client may take nothing.
fn patience(context: &ServerContext<'_>) -> Duration {
    context.watches.pressure.write_stall(context.settings.load().write_stall_timeout)
}

/// Makes an end of TLS without `close_notify` a plain one: what it would cut off has framing of its own.
pub(super) fn end_is_end<T: Default>(read: io::Result<T>) -> io::Result<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(T::default()),
        read => read,
    }
}
