//! Connections to endpoints with prior knowledge (RFC 9113 §3.3), each shared by the requests of many clients.

mod driver;
mod exchange;
mod reception;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use tokio::net::TcpStream;

pub(crate) use exchange::Http2Exchange;

use self::driver::{Driver, Shared};
use super::frame::FrameWatch;
use super::outgoing::Chunk;
use super::paced::{Gate, Paced};
use crate::connection::HEADER_LIMIT;

/// Streams on one connection. More requests take another one.
const MAX_STREAMS: u32 = 100;

/// The window of a stream: enough for 100 Mbit/s at 5 ms. It is what a response may occupy that its client does not take.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The window of a connection: as much as all of its streams, so that one whose client is stalled never takes from others.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// Bytes of a request body that a stream may hold beside the chunk that is being sent: none are ever.
const SEND_BUFFER: usize = 32 * 1024;

/// A connection to an endpoint. Dropped, it is closed when its last stream has ended.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    requests: SendRequest<Chunk>,
    shared: Arc<Shared>,
}

/// Begins HTTP/2 on a connection, which a task of its own drives until the last [`Handle`] and the last stream are gone. A
/// silent one is asked for a sign of life after `ping`.
///
/// # Errors
/// If the connection breaks before the settings are sent.
pub(crate) async fn connect(tcp: TcpStream, ping: Duration) -> io::Result<Handle> {
    tcp.set_nodelay(true)?;
    let gate = Arc::new(Gate::default());
    let io = Paced::new(tcp, FrameWatch::of_endpoint(), Arc::clone(&gate), None);
    let (requests, h2) = builder().handshake(io).await.map_err(io::Error::other)?;
    let shared = Arc::<Shared>::default();
    tokio::spawn(Driver::new(h2, gate, Arc::clone(&shared), ping).run());
    Ok(Handle { requests, shared })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIMIT)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(super::NO_FRAME_BUDGET);
    builder
}

impl Handle {
    /// Returns `true` if another stream may be opened now: there is room, and the endpoint has not said GOAWAY.
    pub(crate) fn is_usable(&self) -> bool {
        let limit = self.shared.limit.load(Relaxed).min(MAX_STREAMS as usize);
        // Nothing of this clone is pending: it says at once whether the connection has ended.
        let polled = self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        self.streams() < limit && matches!(polled, Poll::Ready(Ok(())))
    }

    /// Returns `true` if no stream can be opened any more: the connection has ended, or the endpoint has said GOAWAY.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.requests.clone().poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Returns the number of streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Relaxed)
    }

    /// Opens a stream for one exchange; `None` if the connection is not [usable](Self::is_usable). `is_reused` says that it had
    /// served others before.
    pub(crate) fn open(&self, is_reused: bool) -> Option<Http2Exchange> {
        self.is_usable().then(|| Http2Exchange::new(self.requests.clone(), Arc::clone(&self.shared), is_reused))
    }
}
