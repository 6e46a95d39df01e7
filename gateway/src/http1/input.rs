//! Reading: bytes of a message, behind those that are there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// The least room that a read is given.
const LEAST_ROOM: usize = 1024;

/// Bytes of a buffer beyond what is read into it.
///
/// A buffer for the largest chunk is larger than 16 KiB, therefore: threads that serve traffic do not cache blocks of that
/// size (`allocator::serve_traffic`), and one for each chunk would be taken from the shared part of the allocator.
const BEYOND: usize = LEAST_ROOM - 1;

/// Reads up to about `room` bytes; 0 at the end of the stream.
pub(super) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
    room: usize,
) -> Poll<io::Result<usize>> {
    if input.capacity() - input.len() < room.min(LEAST_ROOM) {
        input.reserve(room.max(LEAST_ROOM) + BEYOND);
    }
    poll_read_buf(Pin::new(stream), cx, &mut input.limit(room.max(LEAST_ROOM)))
}
