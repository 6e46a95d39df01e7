//! The frames that a peer sends, by their headers alone (RFC 9113 §4.1): floods are noticed, and reading is paced.

use crate::connection::Closed;

use super::frame_flood::IdleFrames;
use super::reset_flood::ResetCounter;
use super::table::UNACKNOWLEDGED;

const FRAME_HEADER: usize = 9;

const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// The client's connection preface (RFC 9113 §3.4), which comes before its first frame.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames after which reading pauses. `h2` keeps a record of some 250 bytes for each DATA frame until its stream takes it,
/// and never gives back the room for the most that it had.
const FRAMES: u32 = 32;

/// Header blocks after which reading pauses, and the bytes of them.
const BLOCKS: u32 = 4;
const BLOCK_BYTES: usize = 512;

/// The type of a frame (RFC 9113 §6).
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
    /// A type that clients do not send, or an extension.
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

/// Follows the frames that a peer sends, in pieces of any size, and keeps nine bytes of them.
#[derive(Debug)]
pub(super) struct FrameWatch {
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
    /// Whether the frame that is being skipped ends a header block; `None` outside of frames.
    ends_block: Option<bool>,
    pace: Pace,
    settings: Settings,
    floods: Option<Box<Floods>>,
}

/// What the peer has said of the settings that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settings {
    /// Nothing, in so many bytes.
    Sent { received: usize },
    /// It keeps to them; its table of fields is to be emptied.
    Acknowledged,
    /// Nothing is left to do.
    Settled,
}

/// Counters of what costs a client little and the gateway much.
#[derive(Debug, Default)]
struct Floods {
    resets: ResetCounter,
    idle: IdleFrames,
}

/// Frames that were passed on since the last pause.
#[derive(Debug, Default)]
struct Pace {
    frames: u32,
    blocks: u32,
    block_bytes: usize,
}

/// Bytes that may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    /// Whether reading pauses after them, until what they hold has been taken from `h2`.
    pub(super) pauses: bool,
}

impl FrameWatch {
    /// Watches a client, from before its connection preface.
    pub(super) fn of_client() -> Self {
        let settings = Settings::Sent { received: 0 };
        Self { skip: PREFACE.len(), settings, floods: Some(Box::default()), ..Self::of_endpoint() }
    }

    /// Watches an endpoint, which is paced and otherwise trusted.
    pub(super) fn of_endpoint() -> Self {
        Self {
            skip: 0,
            header: [0; FRAME_HEADER],
            have: 0,
            ends_block: None,
            pace: Pace::default(),
            settings: Settings::Settled,
            floods: None,
        }
    }

    /// Returns `true` between two frames if the table of fields is to be emptied before the next header block.
    pub(super) fn empties_table(&self) -> bool {
        self.settings == Settings::Acknowledged && self.skip == 0 && self.have == 0
    }

    /// The table is empty from here on.
    pub(super) fn table_emptied(&mut self) {
        self.settings = Settings::Settled;
    }

    /// Takes the next bytes, up to where reading pauses, or the table of fields may have to be emptied.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Taken, Closed> {
        let taken = self.take_portion(bytes)?;
        if let Settings::Sent { received } = &mut self.settings {
            *received += taken.bytes;
            if *received > UNACKNOWLEDGED {
                return Err(Closed::FrameFlood);
            }
        }
        Ok(taken)
    }

    fn take_portion(&mut self, bytes: &[u8]) -> Result<Taken, Closed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len() - at);
                self.skip -= count;
                at += count;
            } else {
                let count = (FRAME_HEADER - self.have).min(bytes.len() - at);
                self.header[self.have..self.have + count].copy_from_slice(&bytes[at..at + count]);
                self.have += count;
                at += count;
                if self.have < FRAME_HEADER {
                    break;
                }
                self.begin_frame()?;
            }
            if self.skip == 0
                && let Some(ends_block) = self.ends_block.take()
            {
                let pauses = self.pace.end_frame(ends_block);
                if pauses || self.empties_table() {
                    return Ok(Taken { bytes: at, pauses });
                }
            }
        }
        Ok(Taken { bytes: at, pauses: false })
    }

    /// Notes bytes that went to the peer.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(floods) = &mut self.floods {
            floods.idle.transferred(bytes);
        }
    }

    fn begin_frame(&mut self) -> Result<(), Closed> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        self.have = 0;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        self.skip = length as usize;
        let (kind, stream) = (Kind::of(kind), u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]));
        let is_block = matches!(kind, Kind::Headers | Kind::Continuation);
        self.ends_block = Some(is_block && flags & END_HEADERS != 0);
        if is_block {
            self.pace.block_bytes += self.skip;
        }
        if kind == Kind::Settings && flags & ACK != 0 && self.settings != Settings::Settled {
            self.settings = Settings::Acknowledged;
        }
        match &mut self.floods {
            Some(floods) => floods.received(kind, stream, length),
            None => Ok(()),
        }
    }
}

impl Pace {
    /// Counts a frame that has come to its end. Returns `true` if reading pauses here.
    fn end_frame(&mut self, ends_block: bool) -> bool {
        self.frames += 1;
        self.blocks += u32::from(ends_block);
        let pauses = self.frames >= FRAMES || ends_block && (self.blocks >= BLOCKS || self.block_bytes >= BLOCK_BYTES);
        if pauses {
            *self = Self::default();
        }
        pauses
    }
}

impl Floods {
    fn received(&mut self, kind: Kind, stream: u32, length: u32) -> Result<(), Closed> {
        if !self.resets.received(kind, stream) {
            return Err(Closed::RapidReset);
        }
        if self.idle.received(kind, length) { Ok(()) } else { Err(Closed::FrameFlood) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::frame;
    use super::*;

    /// Passes all bytes through the watch, in pieces of `size`; returns where reading paused.
    fn pauses(watch: &mut FrameWatch, bytes: &[u8], size: usize) -> Result<Vec<usize>, Closed> {
        let (mut at, mut pauses) = (0, Vec::new());
        while at < bytes.len() {
            let taken = watch.take(&bytes[at..bytes.len().min(at + size)])?;
            at += taken.bytes;
            if taken.pauses {
                pauses.push(at);
            }
        }
        Ok(pauses)
    }

    /// A watch of a client that has sent its preface and acknowledged the settings.
    fn begun() -> FrameWatch {
        let mut watch = FrameWatch::of_client();
        watch.take(&[&PREFACE[..], &frame(0x4, ACK, 0, &[])].concat()).unwrap();
        assert!(watch.empties_table());
        watch.table_emptied();
        watch
    }

    #[test]
    fn pauses_do_not_depend_on_how_the_bytes_arrive() {
        let mut bytes = Vec::new();
        for n in 0..400_u32 {
            bytes.extend(frame(0x1, 0x4, 2 * n + 1, &[3; 20]));
            bytes.extend(frame(0x0, 0, 2 * n + 1, &[0x6; 33]));
            bytes.extend(frame(0x6, 0, 0, &[0x6; 8]));
        }
        let whole = pauses(&mut begun(), &bytes, usize::MAX / 2).unwrap();
        assert_eq!(whole.len(), 400 / BLOCKS as usize);
        for size in [1, 2, 7, 9, 10, 4096] {
            let mut watch = begun();
            assert_eq!(pauses(&mut watch, &bytes, size).unwrap(), whole, "{size}");
            assert_eq!((watch.skip, watch.have), (0, 0), "{size}");
        }
    }

    #[test]
    fn reading_pauses_after_a_large_header_block_and_not_inside_it() {
        let mut bytes = frame(0x1, 0, 1, &[7; 9000]);
        bytes.extend(frame(0x9, 0, 1, &[7; 9000]));
        bytes.extend(frame(0x9, 0x4, 1, &[7; 10]));
        let end = bytes.len();
        bytes.extend(frame(0x1, 0x4, 3, &[7; 10]));
        assert_eq!(pauses(&mut FrameWatch::of_endpoint(), &bytes, 4096).unwrap(), [end]);
    }

    #[test]
    fn reading_pauses_after_some_frames_of_any_kind() {
        let bytes = frame(0x0, 0, 1, &[1]).repeat(100);
        let taken = FrameWatch::of_endpoint().take(&bytes).unwrap();
        assert_eq!(taken, Taken { bytes: FRAMES as usize * 10, pauses: true });
    }

    #[test]
    fn a_client_that_does_not_acknowledge_the_settings_is_cut_off() {
        let mut watch = FrameWatch::of_client();
        watch.take(PREFACE).unwrap();
        let taken = (0..1_000).take_while(|_| watch.take(&frame(0x0, 0, 1, &[7; 1_000])).is_ok()).count();
        assert_eq!(taken, UNACKNOWLEDGED / 1_009);
    }

    #[test]
    fn it_says_which_flood_it_is() {
        let flood = |kind: u8, payload: &[u8]| {
            let mut watch = begun();
            (0..100_000).find_map(|_| watch.take(&frame(kind, 0, 1, payload)).err())
        };
        assert_eq!(flood(0x3, &[0, 0, 0, 8]), Some(Closed::RapidReset));
        assert_eq!(flood(0x4, &[]), Some(Closed::FrameFlood));
        assert_eq!(flood(0x0, &[]), Some(Closed::FrameFlood));
        assert_eq!(flood(0x0, b"a body"), None);
    }
}
