//! The frames of HTTP/2 as they pass by: their headers alone (RFC 9113 §4.1).

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::Closed;
use super::frame_flood::IdleFrames;
use super::reset_flood::ResetCounter;

const FRAME_HEADER: usize = 9;

/// The client's connection preface (RFC 9113 §3.4) comes before the first frame.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a frame is for (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    /// What a client has no use for, or an extension.
    Other,
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x6 => Self::Ping,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            _ => Self::Other,
        }
    }
}

/// Follows the frames that a client sends, and says when they are an attack.
///
/// Sees plaintext as it is read, in pieces of any size, and keeps nine bytes of it.
#[derive(Debug)]
pub(super) struct FrameWatch {
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
    resets: ResetCounter,
    idle: IdleFrames,
    alarm: Arc<Alarm>,
}

/// Tells who serves a connection that it is to be ended, and why. Raised once.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    reason: OnceLock<Closed>,
    raised: Notify,
}

impl Alarm {
    fn raise(&self, reason: Closed) {
        if self.reason.set(reason).is_ok() {
            self.raised.notify_one();
        }
    }

    /// Returns when it has been raised. Dropped, it may be asked again.
    pub(super) async fn raised(&self) -> Closed {
        loop {
            if let Some(reason) = self.reason.get() {
                return *reason;
            }
            self.raised.notified().await;
        }
    }
}

impl FrameWatch {
    /// Starts before the connection preface.
    pub(super) fn new(alarm: Arc<Alarm>) -> Self {
        Self {
            alarm,
            skip: PREFACE.len(),
            header: [0; FRAME_HEADER],
            have: 0,
            resets: ResetCounter::default(),
            idle: IdleFrames::default(),
        }
    }

    /// Takes the next bytes from the client. False, and the alarm raised, if they are an attack.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> bool {
        let taken = self.received(bytes);
        if let Err(reason) = taken {
            self.alarm.raise(reason);
        }
        taken.is_ok()
    }

    /// Whether the connection is to be ended.
    pub(super) fn is_alarmed(&self) -> bool {
        self.alarm.reason.get().is_some()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    fn received(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                bytes = &bytes[count..];
                continue;
            }
            let count = (FRAME_HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == FRAME_HEADER {
                self.frame()?;
            }
        }
        Ok(())
    }

    /// So many bytes have gone to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.idle.transferred(bytes);
    }

    fn frame(&mut self) -> Result<(), Closed> {
        let [l0, l1, l2, kind, _flags, s0, s1, s2, s3] = self.header;
        self.have = 0;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        self.skip = length as usize;
        let (kind, stream) = (Kind::of(kind), u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]));
        if !self.resets.received(kind, stream) {
            return Err(Closed::RapidReset);
        }
        if self.idle.received(kind, length) { Ok(()) } else { Err(Closed::FrameFlood) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame as it goes over the wire.
    pub(in crate::connection) fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn what_is_seen_does_not_depend_on_how_the_bytes_arrive() {
        let mut bytes = PREFACE.to_vec();
        for n in 0..400_u32 {
            bytes.extend(frame(0x1, 2 * n + 1, &[3; 20]));
            bytes.extend(frame(0x0, 2 * n + 1, &[0x6; 33]));
            bytes.extend(frame(0x6, 0, &[0x6; 8]));
        }
        for size in [1, 2, 7, 9, 10, 4096] {
            let mut watch = FrameWatch::new(Arc::default());
            assert!(bytes.chunks(size).all(|chunk| watch.received(chunk).is_ok()), "{size}");
            assert_eq!((watch.skip, watch.have), (0, 0), "{size}");
        }
    }

    #[test]
    fn it_says_which_flood_it_is() {
        let flood = |kind: u8, payload: &[u8]| {
            let mut watch = FrameWatch::new(Arc::default());
            watch.received(PREFACE).unwrap();
            (0..100_000).find_map(|_| watch.received(&frame(kind, 1, payload)).err())
        };
        assert_eq!(flood(0x3, &[0, 0, 0, 8]), Some(Closed::RapidReset));
        assert_eq!(flood(0x4, &[]), Some(Closed::FrameFlood));
        assert_eq!(flood(0x0, &[]), Some(Closed::FrameFlood));
        assert_eq!(flood(0x0, b"a body"), None);
    }
}
