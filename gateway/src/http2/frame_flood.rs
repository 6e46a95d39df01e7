//! Frames that ask for nothing (CVE-2019-9512, -9515, -9518 and their kind): each costs the client next to nothing and us some
//! work, and none of them brings a request or a byte of one.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Kind;

/// What a connection may send of them at any time: a client that opens with settings, priorities and pings needs a dozen.
const CREDIT: u32 = 2_000;

/// What comes with time, each second: a client that waits for its streams for hours, and sends nothing else, may ping a few
/// times a second. To keep a connection alive, gRPC pings once in 10 s at most.
const PER_SECOND: u32 = 10;

/// What a stream earns: clients send a priority or a window update or two with each.
const PER_STREAM: u32 = 20;

/// Bytes sent or received that earn one: for a kilobyte of a body clients may well send two window updates, or a ping to
/// measure the bandwidth.
const BYTES: u32 = 8;

/// What a ping or settings cost: their answer earns a part of it.
const ANSWERED: u32 = 4;

/// An account of such frames: what is useful pays in, and time does; they take out.
#[derive(Debug)]
pub(super) struct IdleFrames {
    credit: u32,
    /// Fewer than [`BYTES`].
    rest: u32,
    /// Until when time has paid in.
    paid: Instant,
}

impl Default for IdleFrames {
    fn default() -> Self {
        Self { credit: CREDIT, rest: 0, paid: Instant::now() }
    }
}

impl IdleFrames {
    /// A frame has come; false when that was one too many.
    pub(super) fn received(&mut self, kind: Kind, length: u32) -> bool {
        match kind {
            Kind::Headers => self.earn(PER_STREAM),
            Kind::Data if length > 0 => self.transferred(length as usize),
            Kind::Ping | Kind::Settings => return self.spend(ANSWERED),
            Kind::Data | Kind::RstStream | Kind::Continuation | Kind::Priority | Kind::WindowUpdate | Kind::Other => {
                return self.spend(1);
            }
        }
        true
    }

    /// So many bytes have gone to the client, or come from it in a body.
    pub(super) fn transferred(&mut self, bytes: usize) {
        let bytes = self.rest.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.rest = bytes % BYTES;
        self.earn(bytes / BYTES);
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT);
    }

    fn spend(&mut self, credit: u32) -> bool {
        if self.credit < credit {
            self.earn_by_time();
        }
        let is_covered = self.credit >= credit;
        self.credit = self.credit.saturating_sub(credit);
        is_covered
    }

    /// Pays in for the time that has passed; asked for where credit runs out, as reading the clock for each frame costs more
    /// than the frame.
    fn earn_by_time(&mut self) {
        let each = Duration::from_secs(1) / PER_SECOND;
        let earned = u32::try_from(self.paid.elapsed().as_millis() / each.as_millis()).unwrap_or(u32::MAX);
        self.paid += each * earned;
        self.earn(earned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_ask_for_nothing_come_to_an_end() {
        for kind in [Kind::Ping, Kind::Settings, Kind::Priority, Kind::WindowUpdate, Kind::Data, Kind::Other] {
            let mut frames = IdleFrames::default();
            let answered = |_: &u32| {
                let is_taken = frames.received(kind, 0);
                // As long as the answer.
                frames.transferred(match kind {
                    Kind::Ping => 17,
                    Kind::Settings => 9,
                    _ => 0,
                });
                is_taken
            };
            let taken = (0..1_000_000).take_while(answered).count();
            assert!(taken <= 5_000, "{kind:?}: {taken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_streams_are_silent_may_ping_now_and_then_for_ever() {
        let mut frames = IdleFrames::default();
        for _ in 0..100_000 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(frames.received(Kind::Ping, 8) && frames.received(Kind::Ping, 8));
            frames.transferred(2 * 17);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_comes_to_an_end_also_after_a_quiet_day() {
        let mut frames = IdleFrames::default();
        tokio::time::advance(Duration::from_secs(86_400)).await;
        let taken = (0..1_000_000).take_while(|_| frames.received(Kind::Ping, 8)).count();
        assert!(taken <= 1_000, "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_that_lasts_comes_to_an_end() {
        let mut frames = IdleFrames::default();
        let mut seconds = 0;
        while (0..20).all(|_| frames.received(Kind::WindowUpdate, 4)) {
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
            assert!(seconds < 1_000, "twice what time pays in is taken for ever");
        }
    }

    #[test]
    fn a_download_may_have_window_updates_and_pings_for_ever() {
        let mut frames = IdleFrames::default();
        for _ in 0..100_000 {
            frames.transferred(1_024);
            assert!(frames.received(Kind::WindowUpdate, 4) && frames.received(Kind::WindowUpdate, 4));
            assert!(frames.received(Kind::Ping, 8));
        }
    }

    #[test]
    fn small_messages_may_have_two_window_updates_each_for_ever() {
        let mut frames = IdleFrames::default();
        for _ in 0..100_000 {
            // 9 bytes of frame and a gRPC message of 7.
            frames.transferred(16);
            assert!(frames.received(Kind::WindowUpdate, 4) && frames.received(Kind::WindowUpdate, 4));
        }
    }

    #[test]
    fn requests_may_come_with_priorities_for_ever() {
        let mut frames = IdleFrames::default();
        for _ in 0..100_000 {
            assert!(frames.received(Kind::Headers, 30));
            assert!((0..10).all(|_| frames.received(Kind::Priority, 5)));
        }
    }
}
