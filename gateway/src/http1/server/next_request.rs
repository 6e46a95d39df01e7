//! The wait for a request, and the time and bytes that a client may take for its head.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::super::fault::Fault;
use super::super::head_end::{HeadEnd, LineEnds};
use super::super::request::{Parsed, parse};
use super::interrupts::Interrupts;
use super::link::{Link, end_is_end};
use super::stream::Http1Stream;
use crate::connection::Closed;

/// Bytes of a head that are read at once, after the first ones.
const HEAD_READ: usize = 4096;

/// Reason for which no other request is served.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// What came is not a request.
    Refused(Fault),
    /// The connection is to be closed.
    Close,
    /// The connection is broken.
    Broken,
}

impl Http1Stream<'_> {
    /// Waits for the next request. While nothing of it has come, no buffer is held.
    pub(super) async fn next_request(&mut self, interrupts: &mut Interrupts<'_>) -> Result<Parsed, End> {
        if self.link.input.is_empty() {
            self.link.release();
            match self.await_bytes(interrupts).await {
                Ok(true) => {}
                Ok(false) => return Err(End::Close),
                Err(_) => return Err(End::Broken),
            }
        }
        let settings = self.context.settings.load();
        let (limit, timeout) = (settings.header_limit as usize, settings.header_timeout);
        drop(settings);
        let (mut end, mut deadline) = (HeadEnd::new(LineEnds::Strict), None);
        poll_fn(|cx| {
            loop {
                match end.find(&self.link.input) {
                    Err(fault) => return Poll::Ready(Err(End::Refused(fault))),
                    Ok(Some(length)) if length <= limit => return Poll::Ready(self.link.parse(length)),
                    Ok(None) if self.link.input.len() < limit => {}
                    Ok(_) => return Poll::Ready(Err(End::Refused(Fault::TooLarge))),
                }
                match self.link.poll_read(cx, HEAD_READ) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Close)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Broken)),
                    Poll::Pending => {
                        let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout);
                        ready!(self.link.deadline.poll(deadline, cx));
                        return Poll::Ready(Err(End::Refused(Fault::TooSlow)));
                    }
                }
            }
        })
        .await
    }

    /// Waits until the client has sent something; `false` if the connection ends instead.
    async fn await_bytes(&mut self, interrupts: &mut Interrupts<'_>) -> io::Result<bool> {
        let configured = self.context.settings.load().idle_timeout;
        let since = Instant::now();
        let until = since + self.context.watches.pressure.idle_timeout(configured);
        let ended = poll_fn(|cx| {
            if let Poll::Ready(filled) = self.link.poll_fill(cx) {
                return Poll::Ready(Ok(filled));
            }
            if let Poll::Ready(reason) = interrupts.poll(since, cx) {
                return Poll::Ready(Err(reason));
            }
            self.link.deadline.poll(until, cx).map(|()| Err(Closed::IdleTimeout))
        });
        ended.await.unwrap_or_else(|reason| {
            reason.count();
            Ok(false)
        })
    }
}

impl Link {
    /// Waits for bytes with none in a buffer; `false` at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let filled = end_is_end(ready!(self.wire.poll_fill(cx)));
        self.input = self.wire.take_ahead();
        Poll::Ready(filled)
    }

    /// Gives back the memory of both buffers.
    fn release(&mut self) {
        self.input = bytes::BytesMut::new();
        self.output.release();
    }

    /// Parses the head, which has this length, and consumes it.
    fn parse(&mut self, length: usize) -> Result<Parsed, End> {
        let parsed = parse(&self.input[..length]).map_err(End::Refused)?;
        bytes::Buf::advance(&mut self.input, length);
        Ok(parsed)
    }
}
