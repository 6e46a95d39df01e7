//! Messages of a WebSocket (RFC 6455), one at a time.

use postern_tests::client::raw::{Head, RawConnection};
use postern_tests::{Result, ensure};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::Record;
use crate::backend::ECHO;
use crate::peers::directory::HOST;

/// Bytes of a message.
const MESSAGE: u8 = 100;

/// Sends a message, waits until it is back, and so on until the connection ends, which is an error.
pub(super) async fn talk(stream: TlsStream<TcpStream>, record: &Record) -> Result<()> {
    let mut connection = RawConnection::over(stream);
    connection
        .send(format!(
            "GET {ECHO} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .await?;
    let head = connection.head().await?;
    ensure(matches!(head, Head::Status(101, _)), || format!("answered {head:?}"))?;
    let message = message();
    loop {
        let began = Instant::now();
        connection.send(&message).await?;
        connection.body(message.len()).await?;
        record.succeeded(began);
    }
}

/// A binary frame whose mask is zero.
fn message() -> Vec<u8> {
    const BINARY_AND_LAST: u8 = 0x82;
    const MASKED: u8 = 0x80;
    [&[BINARY_AND_LAST, MASKED | MESSAGE, 0, 0, 0, 0][..], &[b'm'; MESSAGE as usize]].concat()
}
