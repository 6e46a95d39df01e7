//! The time and the bytes a client may take for the header of an HTTP/1.1 request.
//!
//! pingora has no deadline for a header and takes up to 1 MiB of it. The stream below it knows when reading began; when
//! it ended says a pingora module: modules are set up for a request as soon as its header is there.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, Module};
use tokio::time::{Instant, Sleep};

tokio::task_local! {
    /// The gate of the connection whose request this task serves; not set for HTTP/2 streams.
    pub(super) static GATE: HeaderGate;
}

/// Closed while the header of a request is being read, open from then on.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderGate(Arc<AtomicBool>);

impl HeaderGate {
    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, open: bool) {
        self.0.store(open, Ordering::Relaxed);
    }
}

/// Opens the [`GATE`] when pingora has read a request's header.
pub(super) struct HeaderIsRead;

impl HttpModuleBuilder for HeaderIsRead {
    fn init(&self) -> Module {
        // No gate: an HTTP/2 stream, whose header was complete before there was a request.
        let _ = GATE.try_with(|gate| gate.set(true));
        Box::new(Self)
    }
}

#[async_trait]
impl HttpModule for HeaderIsRead {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// What is wrong with the header so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The request line has more than two spaces. pingora would escape them, and another parser may see another target.
    RequestLine,
    TooLarge,
    TooSlow,
}

impl HeaderFault {
    /// The refusal as it goes over the wire.
    pub(super) const fn response(self) -> &'static [u8] {
        match self {
            Self::RequestLine => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            Self::TooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            }
            Self::TooSlow => b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        }
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::RequestLine => "request_line",
            Self::TooLarge => "header_too_large",
            Self::TooSlow => "header_timeout",
        }
    }
}

/// Spaces in a request line (RFC 9112 §3): after the method and after the target.
const REQUEST_LINE_SPACES: u32 = 2;

/// Counts the spaces of a request line as it arrives.
#[derive(Clone, Copy, Debug, Default)]
struct RequestLine {
    /// Whether the line is still being read from its beginning.
    is_open: bool,
    /// Whether something other than the line breaks that may come first has been read.
    has_begun: bool,
    spaces: u32,
}

impl RequestLine {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if !self.is_open => return,
                b'\n' => self.is_open = !self.has_begun,
                b'\r' => {}
                b' ' => self.spaces += 1,
                _ => self.has_begun = true,
            }
        }
    }

    fn is_faulty(self) -> bool {
        self.spaces > REQUEST_LINE_SPACES
    }
}

/// Watches the header of one request after the other.
#[derive(Debug)]
pub(super) struct HeaderPhase {
    gate: HeaderGate,
    limit: usize,
    timeout: Duration,
    bytes: usize,
    line: RequestLine,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HeaderPhase {
    pub(super) fn new(limit: usize, timeout: Duration) -> Self {
        let gate = HeaderGate::default();
        gate.set(true);
        let line = RequestLine::default();
        Self { gate, limit, timeout, bytes: 0, line, began: Instant::now(), timer: None }
    }

    /// The header of a request begins with the bytes that are there. If there are none, pingora holds the beginning
    /// of a pipelined request already, and its request line is not looked at: pingora escapes what is wrong in it.
    pub(super) fn begin(&mut self, ahead: &[u8]) -> HeaderGate {
        self.gate.set(false);
        self.bytes = ahead.len();
        self.line = RequestLine { is_open: !ahead.is_empty(), ..RequestLine::default() };
        self.line.read(ahead);
        self.began = Instant::now();
        self.timer = None;
        self.gate.clone()
    }

    /// Whether a header is being read.
    pub(super) fn is_active(&self) -> bool {
        !self.gate.is_open()
    }

    /// More bytes have come.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.line.read(bytes);
    }

    /// What is wrong with what has come: looked at before a read, when the header is still not complete, and after it.
    pub(super) fn check(&self) -> Result<(), HeaderFault> {
        if self.line.is_faulty() {
            return Err(HeaderFault::RequestLine);
        }
        if self.bytes > self.limit { Err(HeaderFault::TooLarge) } else { Ok(()) }
    }

    /// After a read that has to wait: a header that takes too long. Wakes the task when it does.
    ///
    /// The timer is set only here, so that requests whose header comes at once never touch it.
    pub(super) fn check_time(&mut self, cx: &mut Context<'_>) -> Result<(), HeaderFault> {
        let deadline = self.began + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(HeaderFault::TooSlow),
            Poll::Pending => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_faulty(parts: &[&str]) -> bool {
        let mut header = HeaderPhase::new(100, Duration::from_secs(1));
        header.begin(parts[0].as_bytes());
        parts[1..].iter().for_each(|part| header.received(part.as_bytes()));
        header.check() == Err(HeaderFault::RequestLine)
    }

    #[tokio::test]
    async fn a_third_space_in_the_request_line_is_a_fault_wherever_it_arrives() {
        for parts in
            [&["GET /a b HTTP/1.1\r\n"][..], &["G", "ET /a", " b HTT", "P/1.1\r\n"], &["\r\nGET  / HTTP/1.1\r\n"]]
        {
            assert!(is_faulty(parts), "{parts:?}");
        }
    }

    #[tokio::test]
    async fn spaces_after_the_request_line_are_none_of_it() {
        for parts in
            [&["GET / HTTP/1.1\r\nA: b c d e\r\n"][..], &["GET / HTTP/1.1\r", "\nA: b c", " d e"], &["", "x y z a b"]]
        {
            assert!(!is_faulty(parts), "{parts:?}");
        }
    }
}
