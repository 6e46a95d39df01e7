//! Connections to endpoints: a pooled one, or a new one within its time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pingora_timeout::timeout;
use tokio::net::{TcpSocket, TcpStream};
use xds::resource::UpstreamProtocol;

use super::endpoints::Endpoint;
use super::pool::Pool;
use crate::exchange::side::CHUNK;
use crate::exchange::{EndpointError, EndpointStream};
use crate::http1::client::Http1Exchange;
use crate::http2::client::Http2Exchange;
use crate::message::{Fields, RequestHead, ResponseHead};

/// `SO_RCVBUF` of a connection to an endpoint (socket(7)): what the kernel keeps of a response that is not read on, because
/// its client does not take it. The kernel takes twice as much for its own bookkeeping. Left to itself it keeps 900 KiB.
/// Enough for 1 Gbit/s at 0.25 ms, which is a node away.
const RECEIVE_BUFFER: u32 = 32 * 1024;

/// `TCP_NOTSENT_LOWAT` of a connection to an endpoint: what the kernel takes of a request body that the endpoint does not read.
/// Left to itself it takes up to 4 MiB.
const UNSENT: u32 = 16 * 1024;

/// Bytes of memory that a request may hold besides its head: the receive buffer of its connection to an endpoint and what is not
/// sent to it yet, a chunk of each body, and its state.
pub(crate) const REQUEST_MEMORY: u64 = 2 * RECEIVE_BUFFER as u64 + UNSENT as u64 + 2 * CHUNK as u64 + 16 * 1024;

/// Limits of connections to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Time for a TCP connection to come about.
    pub connect: Duration,
    /// Time for which an unused connection is kept, unless the endpoint states its own. Below that of common servers
    /// (gunicorn 2 s, uvicorn and Hypercorn 5 s, Node 5 s, JDK 30 s), or they close it under a request.
    pub idle: Duration,
    /// The interval at which a quiet HTTP/2 connection is asked whether it is alive.
    pub ping: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), idle: Duration::from_millis(1_800), ping: Duration::from_secs(20) }
    }
}

/// The protocol of a request to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
}

impl Protocol {
    /// Returns the protocol for a request: an upgrade needs HTTP/1.1, and so may its route.
    pub fn of(cluster: UpstreamProtocol, force_http1: bool, is_upgrade: bool) -> Self {
        match cluster {
            UpstreamProtocol::H2c if !force_http1 && !is_upgrade => Self::H2c,
            _ => Self::Http1,
        }
    }
}

/// Connects requests to endpoints.
#[derive(Debug)]
pub struct Connector {
    timeouts: UpstreamTimeouts,
    pool: Arc<Pool>,
}

impl Connector {
    /// Creates a connector with an empty pool.
    pub fn new(timeouts: UpstreamTimeouts) -> Self {
        Self { timeouts, pool: Pool::new(timeouts.idle) }
    }

    /// Returns a connection for one request. One that `may_repeat` takes any that has been idle; others take none that the
    /// endpoint may be about to close.
    ///
    /// # Errors
    /// When no connection comes about in time. Nothing of the request was sent then.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        protocol: Protocol,
        may_repeat: bool,
    ) -> io::Result<EndpointExchange> {
        match protocol {
            Protocol::Http1 => {
                if let Some(idle) = self.pool.take(endpoint.idle(), may_repeat) {
                    return Ok(EndpointExchange::Http1(Http1Exchange::reused(idle)));
                }
                let tcp = self.dial(endpoint.address()).await?;
                Ok(EndpointExchange::Http1(Http1Exchange::fresh(tcp)))
            }
            Protocol::H2c => {
                let dial = || self.dial(endpoint.address());
                let exchange = self.pool.open_http2(endpoint.idle(), self.timeouts.ping, dial).await?;
                Ok(EndpointExchange::Http2(exchange))
            }
        }
    }

    /// Keeps the connection of a request that is complete for the next one, if it can serve one.
    pub(crate) fn release(&self, endpoint: &Endpoint, exchange: EndpointExchange) {
        if let EndpointExchange::Http1(exchange) = exchange
            && let Some(idle) = exchange.into_idle()
        {
            self.pool.put(endpoint.idle(), idle);
        }
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let connected = timeout(self.timeouts.connect, socket.connect(address)).await;
        let tcp = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        tcp.set_nodelay(true)?;
        socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT)?;
        Ok(tcp)
    }
}

/// One exchange with an endpoint, in the protocol that it speaks.
pub(crate) enum EndpointExchange {
    Http1(Http1Exchange),
    Http2(Http2Exchange),
}

macro_rules! delegate {
    ($self:ident, $exchange:ident => $call:expr) => {
        match $self {
            Self::Http1($exchange) => $call,
            Self::Http2($exchange) => $call,
        }
    };
}

impl EndpointStream for EndpointExchange {
    fn send_head(&mut self, head: &RequestHead) {
        delegate!(self, exchange => exchange.send_head(head));
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        delegate!(self, exchange => exchange.poll_ready(cx))
    }

    fn send_data(&mut self, data: Bytes) {
        delegate!(self, exchange => exchange.send_data(data));
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        delegate!(self, exchange => exchange.send_end(trailers));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndpointError>> {
        delegate!(self, exchange => exchange.poll_flush(cx))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, EndpointError>> {
        delegate!(self, exchange => exchange.poll_head(cx))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, EndpointError>> {
        delegate!(self, exchange => exchange.poll_body(cx))
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        delegate!(self, exchange => exchange.take_trailers())
    }

    fn start_tunnel(&mut self) {
        delegate!(self, exchange => exchange.start_tunnel());
    }

    fn is_reused(&self) -> bool {
        delegate!(self, exchange => exchange.is_reused())
    }
}
