//! A client's HTTP connection, HTTP/1.1 or HTTP/2.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::{Call, Stream, in_time};
use crate::Result;

/// A connection that can carry several requests; HTTP/2 ones at the same time.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

/// A request under way.
pub type Pending = BoxFuture<'static, Result<Response<Incoming>>>;

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Speaks HTTP on a stream.
    pub async fn open(stream: impl Stream + 'static, http2: bool) -> Result<Self> {
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            return Ok(Self { sender: Sender::Http2(sender), driver: tokio::spawn(connection) });
        }
        let (sender, connection) = http1::handshake(io).await?;
        Ok(Self { sender: Sender::Http1(sender), driver: tokio::spawn(connection) })
    }

    /// Makes a request and returns when the header of the answer is there.
    pub async fn send(&mut self, call: &Call) -> Result<Response<Incoming>> {
        in_time("an answer", self.start(call).await?).await?
    }

    /// Starts a request; what is returned waits for the header of the answer. With HTTP/2 others can be started meanwhile.
    pub async fn start(&mut self, call: &Call) -> Result<Pending> {
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(call.request(false)?).err_into().boxed()
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(call.request(true)?).err_into().boxed()
            }
        })
    }

    /// True while the gateway has neither closed the connection nor asked for its end.
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Waits until the connection is at its end.
    pub async fn closed(mut self) -> Result<()> {
        Ok((&mut self.driver).await??)
    }
}
