//! An attacker's connection, on which frames are written by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_tests::Result;
use postern_tests::client::frames::Block;
pub(crate) use postern_tests::client::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, SHUT,
    WINDOW_UPDATE, frame,
};
use postern_tests::patience::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The address of attackers: another source than that of honest clients.
pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// The header block of a request to the site, without dynamic table or Huffman code (RFC 7541 §6).
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    Block::request(method, "http", "shop.test", path).into_bytes()
}

/// A client's connection after its preface.
pub(crate) struct Attacker {
    writer: tokio::net::tcp::OwnedWriteHalf,
    reader: JoinHandle<u64>,
}

impl Attacker {
    /// Connects with these settings. What comes is read and thrown away.
    pub(crate) async fn connect(address: SocketAddr, settings: &[u8]) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(ATTACKER), 0))?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut reader, writer) = stream.into_split();
        let reader = tokio::spawn(async move {
            let (mut buffer, mut read) = (vec![0; 64 * 1024], 0);
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                read += count as u64;
            }
            read
        });
        let mut attacker = Self { writer, reader };
        attacker.send(PREFACE).await?;
        attacker.send(&frame(SETTINGS, 0, 0, settings)).await?;
        Ok(attacker)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(timeout(PATIENCE, self.writer.write_all(bytes)).await.map_err(|_| "the gateway reads no more")??)
    }

    /// Sends what `next` yields, up to so many times; true if the gateway ended the connection meanwhile or soon after.
    pub(crate) async fn flood(&mut self, times: u32, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
        for number in 0..times {
            if self.reader.is_finished() || self.send(&next(number)).await.is_err() {
                return true;
            }
        }
        let ended = timeout(Duration::from_secs(3), async {
            while !self.reader.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        ended.await.is_ok()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
