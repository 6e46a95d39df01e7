//! Echoes: of a WebSocket's bytes, and of messages on streams of HTTP/2 without TLS.

use std::collections::BTreeMap;
use std::io;

use postern_tests::client::frames::{
    ACK, Block, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::head::read;
use crate::http2::read_frame;

/// The rest of a client's preface, after what looks like a request for `*`.
const REST_OF_PREFACE: &[u8] = b"SM\r\n\r\n";

/// Windows are opened again after this many bytes of 65,535.
const HALF_WINDOW: u32 = 32 * 1024;

/// Accepts an upgrade and sends back what comes. The key is that of RFC 6455 §1.3, and so is its answer.
pub(super) async fn websocket(mut stream: TcpStream) -> io::Result<()> {
    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(ACCEPTED.as_bytes()).await?;
    let mut bytes = Vec::new();
    while read(&stream, |read| bytes.extend_from_slice(read)).await? {
        stream.write_all(&bytes).await?;
        bytes.clear();
    }
    Ok(())
}

/// Answers each stream with 200, each of its DATA with the same, and its end with trailers. A client that keeps few messages
/// under way exhausts no window, so those of the client are not counted.
pub(super) async fn streams(mut stream: TcpStream, begun: &[u8]) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(begun.chain(reader));
    let mut preface = [0; REST_OF_PREFACE.len()];
    reader.read_exact(&mut preface).await?;
    writer.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let response = Block::status_ok().field("content-type", "application/grpc").into_bytes();
    let trailers = Block::default().field("grpc-status", "0").into_bytes();
    let (mut taken, mut payload, mut out) = (BTreeMap::<u32, u32>::new(), Vec::new(), Vec::new());
    loop {
        let head = read_frame(&mut reader, &mut payload).await?;
        match head.kind {
            SETTINGS if !head.has(ACK) => out.extend(frame(SETTINGS, ACK, 0, &[])),
            PING if !head.has(ACK) => out.extend(frame(PING, ACK, 0, &payload)),
            HEADERS => out.extend(frame(HEADERS, END_HEADERS, head.stream, &response)),
            DATA => {
                if !payload.is_empty() {
                    out.extend(frame(DATA, 0, head.stream, &payload));
                }
                for of in [0, head.stream] {
                    let taken = taken.entry(of).or_default();
                    *taken += u32::try_from(payload.len()).unwrap_or_default();
                    if *taken >= HALF_WINDOW {
                        out.extend(frame(WINDOW_UPDATE, 0, of, &taken.to_be_bytes()));
                        *taken = 0;
                    }
                }
            }
            RST_STREAM => drop(taken.remove(&head.stream)),
            _ => {}
        }
        if matches!(head.kind, HEADERS | DATA) && head.has(END_STREAM) {
            taken.remove(&head.stream);
            out.extend(frame(HEADERS, END_HEADERS | END_STREAM, head.stream, &trailers));
        }
        // What has come together goes back together.
        if reader.buffer().is_empty() && !out.is_empty() {
            writer.write_all(&out).await?;
            out.clear();
        }
    }
}
