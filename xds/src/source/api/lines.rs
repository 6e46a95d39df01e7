//! A watch's answer as lines.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

use super::request::Failure;
use crate::causes;

/// A longer line is no object: etcd holds at most 1.5 MiB of one, and JSON is at most six times that.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Lines of a body, each read once and let go.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// So much of the buffer holds no line end.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end, or `None` at the end of the body; a last line that was cut off is not one.
    /// Cancel-safe.
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(Failure::TooLarge { limit: MAX_LINE_BYTES });
            }
            let begun = Instant::now();
            let stalled = |_| Failure::Stalled { after: deadline.saturating_duration_since(begun).max(SECOND) };
            match timeout_at(deadline, self.body.frame()).await.map_err(stalled)? {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(Failure::Broken { reason: causes(&error) }),
                None => return Ok(None),
            }
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        line.truncate(line.len() - 1);
        self.searched = 0;
        Some(line.freeze())
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + SECOND
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends_and_a_torn_one_is_dropped() {
        let mut lines = Lines::new(Body::from(b"one\n\nthree\nfo".to_vec()));
        for expected in [&b"one"[..], b"", b"three"] {
            assert_eq!(lines.next(soon()).await.unwrap().unwrap(), expected);
        }
        assert!(lines.next(soon()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_read_for_ever() {
        let mut lines = Lines::new(Body::from(vec![b'x'; MAX_LINE_BYTES + 1]));
        assert!(matches!(lines.next(soon()).await, Err(Failure::TooLarge { .. })));
    }
}
