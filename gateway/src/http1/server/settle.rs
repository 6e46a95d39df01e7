//! What becomes of a connection after a response.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::super::decode::Decoded;
use super::stream::{Http1Stream, Response};
use crate::exchange::{ClientError, ClientStream};

/// Time for which the rest of a request's body is read before its connection is closed instead of reused.
const DRAIN: Duration = Duration::from_secs(5);

/// Bytes of a request's body that are read for that.
const DRAIN_BYTES: u64 = 64 * 1024;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It is ready for the next request.
    NextRequest,
    /// It is closed in good order.
    Close,
    /// It is dropped.
    Drop,
}

impl Http1Stream<'_> {
    /// Sends what is left of the response, and reads what is left of the request.
    pub(super) async fn settle(&mut self) -> After {
        if self.flush().await.is_err() {
            return After::Drop;
        }
        if self.hides_abort() {
            self.link.wire.reset_on_drop();
            return After::Drop;
        }
        if self.exchange.response != Response::Ended || !self.exchange.reply.keep_alive {
            return After::Close;
        }
        if self.exchange.body.is_done() || self.discard_body().await { After::NextRequest } else { After::Close }
    }

    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Reads and discards the rest of the request's body. Returns `false` if it is too long, or takes too long.
    async fn discard_body(&mut self) -> bool {
        if self.exchange.body.left().is_some_and(|left| left > DRAIN_BYTES) {
            return false;
        }
        let (mut left, deadline) = (DRAIN_BYTES, Instant::now() + DRAIN);
        poll_fn(|cx| {
            let discarded = self.poll_discard(&mut left, cx);
            if discarded.is_pending() {
                ready!(self.link.deadline.poll(deadline, cx));
                return Poll::Ready(false);
            }
            discarded
        })
        .await
    }

    fn poll_discard(&mut self, left: &mut u64, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            match self.exchange.body.decode(&mut self.link.input) {
                Ok(Decoded::End) => return Poll::Ready(true),
                Ok(Decoded::Data(data)) if data.len() as u64 <= *left => *left -= data.len() as u64,
                Ok(Decoded::Data(_)) | Err(_) => return Poll::Ready(false),
                Ok(Decoded::Incomplete) => {
                    let room = self.exchange.body.wants();
                    if !matches!(ready!(self.link.poll_read(cx, room)), Ok(1..)) {
                        return Poll::Ready(false);
                    }
                }
            }
        }
    }
}
