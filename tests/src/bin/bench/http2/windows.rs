//! Flow control for bodies (RFC 9113 §5.2): as much as the gateway allows, and not a byte more.

use std::collections::BTreeMap;

use postern_tests::client::frames::{DATA, MAX_PAYLOAD, frame};

/// Initial window of a stream and of the connection.
const INITIAL: i64 = 65_535;

/// A window that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// `SETTINGS_INITIAL_WINDOW_SIZE`.
    Initial(i64),
    /// The connection's, by this much.
    Connection(i64),
    /// A stream's, by this much.
    Stream(u32, i64),
}

impl Window {
    /// The initial window that a payload of SETTINGS names.
    pub(crate) fn of_settings(payload: &[u8]) -> Option<Self> {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        let (settings, _) = payload.as_chunks::<6>();
        let found = settings.iter().find(|[a, b, ..]| u16::from_be_bytes([*a, *b]) == INITIAL_WINDOW_SIZE);
        found.map(|[_, _, size @ ..]| Self::Initial(i64::from(u32::from_be_bytes(*size))))
    }

    /// The increment in a payload of `WINDOW_UPDATE`.
    pub(crate) fn of_update(stream: u32, payload: &[u8]) -> Option<Self> {
        let more = i64::from(u32::from_be_bytes(payload.try_into().ok()?));
        Some(if stream == 0 { Self::Connection(more) } else { Self::Stream(stream, more) })
    }
}

/// The windows of a connection and its open streams.
#[derive(Debug)]
pub(crate) struct Windows {
    initial: i64,
    connection: i64,
    streams: BTreeMap<u32, i64>,
}

impl Default for Windows {
    fn default() -> Self {
        Self { initial: INITIAL, connection: INITIAL, streams: BTreeMap::new() }
    }
}

impl Windows {
    pub(crate) fn open(&mut self, stream: u32) {
        self.streams.insert(stream, self.initial);
    }

    pub(crate) fn close(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }

    pub(crate) fn take(&mut self, window: Window) {
        match window {
            Window::Initial(size) => {
                let more = size - self.initial;
                self.initial = size;
                self.streams.values_mut().for_each(|window| *window += more);
            }
            Window::Connection(more) => self.connection += more,
            Window::Stream(stream, more) => {
                if let Some(window) = self.streams.get_mut(&stream) {
                    *window += more;
                }
            }
        }
    }

    /// DATA that fills all windows.
    pub(crate) fn fill(&mut self) -> Vec<u8> {
        static BODY: [u8; MAX_PAYLOAD] = [b'u'; MAX_PAYLOAD];
        let mut bytes = Vec::new();
        for (stream, window) in &mut self.streams {
            loop {
                let size = usize::try_from(self.connection.min(*window)).unwrap_or(0).min(MAX_PAYLOAD);
                if size == 0 {
                    break;
                }
                bytes.extend(frame(DATA, 0, *stream, &BODY[..size]));
                let sent = i64::try_from(size).unwrap_or_default();
                *window -= sent;
                self.connection -= sent;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_fill_the_connection_first_and_streams_after_an_update() {
        let mut windows = Windows::default();
        windows.open(1);
        windows.open(3);
        let frames = |bytes: Vec<u8>| bytes.len();
        // Four frames of the first stream; the connection has no more.
        assert_eq!(frames(windows.fill()), 65_535 + 4 * 9);
        windows.take(Window::of_update(0, &100_000_u32.to_be_bytes()).unwrap());
        assert_eq!(frames(windows.fill()), 65_535 + 4 * 9);
        windows.take(Window::of_settings(&[0, 4, 0, 1, 0, 0]).unwrap());
        assert_eq!(frames(windows.fill()), 2 + 2 * 9);
        windows.close(1);
        assert_eq!(frames(windows.fill()), 0);
    }
}
