//! Rapid reset (CVE-2023-44487): streams that are opened only to be cancelled cost the client nothing and us a request.

/// A frame header's length (RFC 9113 §4.1).
const FRAME_HEADER: usize = 9;
/// The client's connection preface (RFC 9113 §3.4) comes before the first frame.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;

/// After this many streams the account is settled: more than half of them cancelled is abuse, else counting starts
/// anew. The rule is Envoy's (`overload.premature_reset_total_stream_count`), without its clock.
const ACCOUNT: u32 = 500;

/// Follows the frames a client sends and counts the streams it opens and cancels.
///
/// Sees plaintext as it is read, in pieces of any size, and keeps nine bytes of it.
#[derive(Debug)]
pub(super) struct ResetCounter {
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
    last_stream: u32,
    opened: u32,
    cancelled: u32,
}

impl ResetCounter {
    /// Starts before the connection preface.
    pub(super) fn new() -> Self {
        Self { skip: PREFACE.len(), header: [0; FRAME_HEADER], have: 0, last_stream: 0, opened: 0, cancelled: 0 }
    }

    /// Takes the next bytes from the client; false when it cancels more than it uses.
    pub(super) fn accept(&mut self, mut bytes: &[u8]) -> bool {
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
            if self.have == FRAME_HEADER && !self.frame() {
                return false;
            }
        }
        true
    }

    fn frame(&mut self) -> bool {
        let [l0, l1, l2, kind, _flags, s0, s1, s2, s3] = self.header;
        self.have = 0;
        self.skip = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        match kind {
            HEADERS if stream > self.last_stream => {
                self.last_stream = stream;
                self.opened += 1;
            }
            RST_STREAM => self.cancelled += 1,
            _ => {}
        }
        self.settle()
    }

    fn settle(&mut self) -> bool {
        if self.opened < ACCOUNT && self.cancelled < ACCOUNT {
            return true;
        }
        let abusive = self.cancelled > self.opened / 2;
        (self.opened, self.cancelled) = (0, 0);
        !abusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// `streams` streams of which `cancelled` in a thousand are reset.
    fn conversation(streams: u32, cancelled: u32) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        for n in 0..streams {
            let stream = 2 * n + 1;
            bytes.extend(frame(HEADERS, stream, &[3; 20]));
            bytes.extend(frame(0, stream, &[RST_STREAM; 33]));
            if n % 1000 < cancelled {
                bytes.extend(frame(RST_STREAM, stream, &[0, 0, 0, 8]));
            }
        }
        bytes
    }

    #[test]
    fn a_client_that_cancels_most_streams_is_cut_off() {
        assert!(!ResetCounter::new().accept(&conversation(1000, 1000)));
    }

    #[test]
    fn a_client_that_cancels_now_and_then_is_served_for_ever() {
        let mut counter = ResetCounter::new();
        assert!(counter.accept(&conversation(20_000, 200)));
    }

    #[test]
    fn resets_without_streams_are_counted_too() {
        let mut bytes = PREFACE.to_vec();
        for _ in 0..ACCOUNT {
            bytes.extend(frame(RST_STREAM, 1, &[0, 0, 0, 8]));
        }
        assert!(!ResetCounter::new().accept(&bytes));
    }

    #[test]
    fn the_count_does_not_depend_on_how_the_bytes_arrive() {
        let bytes = conversation(499, 1000);
        for size in [1, 2, 7, 9, 10, 4096] {
            let mut counter = ResetCounter::new();
            assert!(bytes.chunks(size).all(|chunk| counter.accept(chunk)), "{size}");
            assert_eq!((counter.opened, counter.cancelled), (499, 499), "{size}");
        }
    }
}
