//! HTTP/2 by hand: frames as no library would send them.

use std::net::SocketAddr;
use std::time::Duration;

use postern_tests::Result;
use postern_tests::patience::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header block of a request to the site, without dynamic table or Huffman code (RFC 7541 §6).
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let mut block = match method {
        "GET" => vec![0x82],
        _ => vec![0x83],
    };
    // :scheme http, then literals without indexing whose names are in the static table: :authority 1, :path 4.
    block.extend([0x86, 0x01]);
    literal(&mut block, "shop.test");
    block.push(0x04);
    literal(&mut block, path);
    block
}

fn literal(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).expect("a text is short"));
    block.extend_from_slice(text.as_bytes());
}

/// A client's connection after its preface.
pub(crate) struct Attacker {
    writer: tokio::net::tcp::OwnedWriteHalf,
    reader: JoinHandle<u64>,
}

impl Attacker {
    /// Connects with these settings. What comes is read and thrown away.
    pub(crate) async fn connect(address: SocketAddr, settings: &[u8]) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
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
        attacker.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
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
