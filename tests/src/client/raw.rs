//! Bytes as they are, for what no HTTP library would send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::Stream;
use crate::Result;
use crate::patience::PATIENCE;

/// A connection on which bytes are written and read by hand.
#[derive(Debug)]
pub struct RawConnection<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

/// The head of an answer, or that the other side closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Status code, and the whole head as text.
    Status(u16, String),
    /// The connection ended before a complete head.
    Closed,
}

impl RawConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self::over(super::tcp(address).await?))
    }

    /// Connects from an address of this host.
    pub async fn open_from(source: Ipv4Addr, address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: Stream> RawConnection<S> {
    /// Uses a stream that is there already, for instance one with TLS.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Writes bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads until the head of an answer is complete. A reset counts as closed.
    pub async fn head(&mut self) -> Result<Head> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head).into_owned();
                let status = head.split(' ').nth(1).ok_or_else(|| format!("no status in {head:?}"))?.parse()?;
                return Ok(Head::Status(status, head));
            }
            if !self.fill(PATIENCE).await? {
                return Ok(Head::Closed);
            }
        }
    }

    /// The status of the next answer; an error if there is none.
    pub async fn status(&mut self) -> Result<u16> {
        match self.head().await? {
            Head::Status(status, _) => Ok(status),
            Head::Closed => Err("closed instead of an answer".into()),
        }
    }

    /// Reads exactly this much of a body.
    pub async fn body(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.unread.len() < length {
            crate::ensure(self.fill(PATIENCE).await?, || "closed within a body".to_owned())?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads to the end and returns everything; an error if the end does not come in time.
    pub async fn rest(&mut self, patience: Duration) -> Result<Vec<u8>> {
        while self.fill(patience).await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Reads once. False at the end of the stream.
    async fn fill(&mut self, patience: Duration) -> Result<bool> {
        let mut buffer = [0; 4 * 1024];
        let read = timeout(patience, self.stream.read(&mut buffer)).await;
        match read.map_err(|_| format!("nothing to read within {patience:?}"))? {
            Ok(0) | Err(_) => Ok(false),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
        }
    }
}

/// Sends bytes on a connection of their own and returns the head of the answer.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Head> {
    let mut connection = RawConnection::open(address).await?;
    connection.send(bytes).await?;
    connection.head().await
}
