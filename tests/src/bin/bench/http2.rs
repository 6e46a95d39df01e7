//! HTTP/2 connections that are read and written by hand.

use std::io;

use postern_tests::client::frames::FRAME_HEAD;
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) mod windows;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads a frame; its payload replaces what was in the buffer.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin), payload: &mut Vec<u8>) -> io::Result<FrameHead> {
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, number @ ..] = head;
    payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
    stream.read_exact(payload).await?;
    Ok(FrameHead { kind, flags, stream: u32::from_be_bytes(number) })
}
