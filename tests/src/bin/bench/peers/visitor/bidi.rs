//! gRPC streams in both directions, with one message under way on each.

use std::collections::BTreeMap;

use postern_tests::client::frames::{
    ACK, Block, DATA, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, headers,
};
use postern_tests::{Result, ensure};
use tokio::io::{AsyncWriteExt, BufReader, split};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::Record;
use crate::http2::{FrameHead, read_frame};
use crate::peers::directory::HOST;

/// Streams of a connection.
const STREAMS: u32 = 10;

/// Bytes of a message, after its head of five.
const MESSAGE: usize = 100;

/// Windows are opened again after this many bytes of 65,535.
const HALF_WINDOW: u32 = 32 * 1024;

/// A stream: when its message was sent, and what is back of it.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    sent: Instant,
    back: usize,
}

/// Sends messages and waits for each to be back, until the connection or a stream ends, which is an error. With so little
/// under way no window is exhausted.
pub(super) async fn talk(stream: TlsStream<TcpStream>, record: &Record) -> Result<()> {
    let (reader, mut writer) = split(stream);
    let mut reader = BufReader::new(reader);
    let message = [&[0, 0, 0, 0, u8::try_from(MESSAGE)?][..], &[b'm'; MESSAGE]].concat();
    let (mut streams, mut taken) = (BTreeMap::new(), BTreeMap::<u32, u32>::new());
    let mut out = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for number in 0..STREAMS {
        let stream = 2 * number + 1;
        let block = Block::request("POST", "https", HOST, "/bidi/test.Test/Chat");
        let block = block.field("content-type", "application/grpc").field("te", "trailers");
        out.extend(headers(stream, false, &block.into_bytes()));
        out.extend(frame(DATA, 0, stream, &message));
        streams.insert(stream, UnderWay { sent: Instant::now(), back: 0 });
    }
    let mut payload = Vec::new();
    loop {
        if reader.buffer().is_empty() && !out.is_empty() {
            writer.write_all(&out).await?;
            writer.flush().await?;
            out.clear();
        }
        let head = read_frame(&mut reader, &mut payload).await?;
        goes_on(head)?;
        match head.kind {
            SETTINGS if !head.has(ACK) => out.extend(frame(SETTINGS, ACK, 0, &[])),
            PING if !head.has(ACK) => out.extend(frame(PING, ACK, 0, &payload)),
            DATA => {
                let under_way = streams.get_mut(&head.stream).ok_or("an unknown stream")?;
                under_way.back += payload.len();
                if under_way.back >= message.len() {
                    record.succeeded(under_way.sent);
                    *under_way = UnderWay { sent: Instant::now(), back: 0 };
                    out.extend(frame(DATA, 0, head.stream, &message));
                }
                for of in [0, head.stream] {
                    let taken = taken.entry(of).or_default();
                    *taken += u32::try_from(payload.len())?;
                    if *taken >= HALF_WINDOW {
                        out.extend(frame(WINDOW_UPDATE, 0, of, &taken.to_be_bytes()));
                        *taken = 0;
                    }
                }
            }
            _ => {}
        }
    }
}

/// An error if a stream or the connection ends.
fn goes_on(head: FrameHead) -> Result<()> {
    let ended = match head.kind {
        RST_STREAM | GOAWAY => true,
        HEADERS | DATA => head.has(END_STREAM),
        _ => false,
    };
    ensure(!ended, || format!("a stream ended: {head:?}"))
}
