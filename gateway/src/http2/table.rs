//! The table of fields that a client lets `h2` keep for it (RFC 7541 §2.3.2), held empty.
//!
//! An entry for `:path` or `:authority` is a slice of the buffer that its frame was read into, and keeps all of it: 8 KiB,
//! or the frame's own size. With the table of 4,096 bytes that the protocol begins with, a hundred such entries kept 1.5 MiB
//! a connection, measured. `SETTINGS_HEADER_TABLE_SIZE` of 0 alone changes nothing for a client that ignores it, as `h2`
//! leaves it to the client to say so (§4.2) and takes its entries otherwise. So it is said in the client's place, by a size
//! update in front of the first header block after it has acknowledged the settings. A client that has said it itself, or
//! takes no fields from the table, notices nothing. What is lost is compression.

/// Bytes that a client may send before it acknowledges the settings: the window that it begins with, and the heads of a
/// hundred requests. Until then its entries are kept, and these bytes are all that they can keep.
pub(super) const UNACKNOWLEDGED: usize = 128 * 1024;

/// The longest beginning of a HEADERS frame that the update goes behind: frame header, length of the padding, priority.
pub(super) const BEGINNING: usize = 9 + 1 + 5;

const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A dynamic table size update to 0 (RFC 7541 §6.3).
const EMPTY_TABLE: u8 = 0x20;

/// What is done about a frame that comes after the settings were acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// More of it must have come.
    Incomplete,
    /// It has no header block.
    Other,
    /// It begins a header block; this goes in place of its first bytes.
    Begun { first: usize, replacement: Vec<u8> },
}

/// Adds the update to the header block that `bytes` begin, if they do.
///
/// The block goes on in a frame of its own behind the update: in one frame with it, it may be too long. Padding belongs to
/// one frame, so that a padded one becomes longer; clients do not pad what is long.
pub(super) fn begin_block(bytes: &[u8]) -> Outcome {
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3, ..] = *bytes else { return Outcome::Incomplete };
    if kind != HEADERS {
        return Outcome::Other;
    }
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    let is_padded = flags & PADDED != 0;
    let extra = usize::from(is_padded) + if flags & PRIORITY != 0 { 5 } else { 0 };
    if length < extra {
        // Malformed, as `h2` will find.
        return Outcome::Begun { first: 0, replacement: Vec::new() };
    }
    let first = 9 + extra;
    let Some(extra_bytes) = bytes.get(9..first) else { return Outcome::Incomplete };
    let stream = [s0, s1, s2, s3];
    let (begun, flags_begun) = if is_padded { (length + 1, flags) } else { (extra + 1, flags & !END_HEADERS) };
    let mut replacement = header(begun, HEADERS, flags_begun, stream);
    replacement.extend_from_slice(extra_bytes);
    replacement.push(EMPTY_TABLE);
    if !is_padded {
        replacement.extend(header(length - extra, CONTINUATION, flags & END_HEADERS, stream));
    }
    Outcome::Begun { first, replacement }
}

fn header(length: usize, kind: u8, flags: u8, stream: [u8; 4]) -> Vec<u8> {
    let [.., l0, l1, l2] = length.to_be_bytes();
    let mut bytes = Vec::with_capacity(2 * BEGINNING);
    bytes.extend_from_slice(&[l0, l1, l2, kind, flags]);
    bytes.extend_from_slice(&stream);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::testing::frame;
    use super::*;

    /// The frames after the update was added.
    fn added(bytes: &[u8]) -> Vec<u8> {
        let Outcome::Begun { first, replacement } = begin_block(bytes) else { panic!("not a header block") };
        [&replacement, &bytes[first..]].concat()
    }

    #[test]
    fn a_block_goes_on_behind_the_update_in_a_frame_of_its_own() {
        let end_of_both = END_HEADERS | 0x1;
        let plain = added(&frame(HEADERS, end_of_both, 5, b"block"));
        assert_eq!(
            plain,
            [frame(HEADERS, 0x1, 5, &[EMPTY_TABLE]), frame(CONTINUATION, END_HEADERS, 5, b"block")].concat()
        );
        let with_priority = added(&frame(HEADERS, END_HEADERS | PRIORITY, 5, b"12345block"));
        let begun = frame(HEADERS, PRIORITY, 5, b"12345 ");
        assert_eq!(with_priority, [begun, frame(CONTINUATION, END_HEADERS, 5, b"block")].concat());
        let unfinished = added(&frame(HEADERS, 0, 5, b"block"));
        assert_eq!(unfinished, [frame(HEADERS, 0, 5, &[EMPTY_TABLE]), frame(CONTINUATION, 0, 5, b"block")].concat());
    }

    #[test]
    fn a_padded_block_stays_in_its_frame() {
        let padded = added(&frame(HEADERS, END_HEADERS | PADDED, 5, b"\x02block\x00\x00"));
        assert_eq!(padded, frame(HEADERS, END_HEADERS | PADDED, 5, b"\x02 block\x00\x00"));
    }

    #[test]
    fn what_is_needed_to_tell_is_waited_for() {
        let whole = frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 5, b"\x0012345block");
        for length in 0..BEGINNING {
            assert_eq!(begin_block(&whole[..length]), Outcome::Incomplete, "{length}");
        }
        assert_ne!(begin_block(&whole[..BEGINNING]), Outcome::Incomplete);
        assert_eq!(begin_block(&frame(0x0, 0, 5, b"data")), Outcome::Other);
        assert_eq!(
            begin_block(&frame(HEADERS, PRIORITY, 5, b"123")),
            Outcome::Begun { first: 0, replacement: Vec::new() }
        );
    }
}
