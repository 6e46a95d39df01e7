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

use super::Closed;
use super::request_head::RequestHead;

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
    /// See [`RequestHead::has_faulty_line`].
    RequestLine,
    /// More header fields than pingora would read.
    TooManyFields,
    TooLarge,
    TooSlow,
}

impl HeaderFault {
    /// The refusal as it goes over the wire.
    pub(super) const fn response(self) -> &'static [u8] {
        match self {
            Self::RequestLine => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            Self::TooManyFields | Self::TooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            }
            Self::TooSlow => b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        }
    }

    pub(super) const fn reason(self) -> Closed {
        match self {
            Self::RequestLine => Closed::RequestLine,
            Self::TooManyFields | Self::TooLarge => Closed::HeaderTooLarge,
            Self::TooSlow => Closed::HeaderTimeout,
        }
    }
}

/// Watches the header of one request after the other.
#[derive(Debug)]
pub(super) struct HeaderPhase {
    gate: HeaderGate,
    limit: usize,
    timeout: Duration,
    bytes: usize,
    head: RequestHead,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HeaderPhase {
    pub(super) fn new(limit: usize, timeout: Duration) -> Self {
        let gate = HeaderGate::default();
        gate.set(true);
        Self { gate, limit, timeout, bytes: 0, head: RequestHead::default(), began: Instant::now(), timer: None }
    }

    /// The header of a request begins: with what pingora holds of it already, then with the bytes that are there.
    pub(super) fn begin(&mut self, held: Option<RequestHead>, ahead: &[u8]) -> HeaderGate {
        self.gate.set(false);
        self.bytes = 0;
        self.head = held.unwrap_or_default();
        self.received(ahead);
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
        self.head.read(bytes);
    }

    /// What is wrong with what has come, whatever else may come.
    pub(super) fn check_form(&self) -> Result<(), HeaderFault> {
        if self.head.has_faulty_line() {
            return Err(HeaderFault::RequestLine);
        }
        if self.head.has_too_many_fields() { Err(HeaderFault::TooManyFields) } else { Ok(()) }
    }

    /// Before a read, when the header is still not complete: whether more may come. (What is complete may have any size that
    /// the proxy accepts.)
    pub(super) fn check_size(&self) -> Result<(), HeaderFault> {
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
