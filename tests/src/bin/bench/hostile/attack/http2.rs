//! Attacks over HTTP/2, as frames made by hand: streams that are all opened at once and held.

use std::collections::BTreeSet;
use std::io;

use postern_tests::client::Stream;
use postern_tests::client::frames::{PREFACE, SETTINGS, frame, headers};
use tokio::io::{AsyncWriteExt, WriteHalf, split};
use tokio::sync::mpsc;

use super::counts::Counts;
use super::pace::Pace;
use crate::http2::windows::Windows;

mod reader;

use reader::{Event, read_events};

/// Events that wait for the writer; above, the reader waits.
const EVENTS: usize = 1_024;

/// The highest number of a stream (RFC 9113 §5.1.1).
const LAST_STREAM: u32 = (1 << 31) - 1;

/// Streams of a connection.
#[derive(Clone, Debug)]
pub(in super::super) struct Http2 {
    settings: &'static [u8],
    /// The header block of each.
    blocks: Vec<Vec<u8>>,
    reopens: bool,
    uploads: bool,
}

impl Http2 {
    /// Opens a stream for each header block, after this payload of SETTINGS.
    pub(in super::super) fn new(settings: &'static [u8], blocks: Vec<Vec<u8>>) -> Self {
        Self { settings, blocks, reopens: false, uploads: false }
    }

    /// Opens another stream whenever one has ended.
    pub(in super::super) fn reopening(mut self) -> Self {
        self.reopens = true;
        self
    }

    /// Sends a body on each stream, as much as the windows allow.
    pub(in super::super) fn uploading(mut self) -> Self {
        self.uploads = true;
        self
    }

    pub(super) async fn run(&self, stream: Box<dyn Stream>, counts: &Counts, pace: &Pace) -> io::Result<()> {
        let (reader, stream) = split(stream);
        let (events, happened) = mpsc::channel(EVENTS);
        let writer =
            Writer { script: self, stream, next: 1, open: BTreeSet::new(), windows: Windows::default(), counts, pace };
        tokio::select! {
            ended = read_events(reader, events) => ended,
            ended = writer.run(happened) => ended,
        }
    }
}

/// The sending side.
struct Writer<'a> {
    script: &'a Http2,
    stream: WriteHalf<Box<dyn Stream>>,
    /// Number of the next stream.
    next: u32,
    /// Streams that have not ended.
    open: BTreeSet<u32>,
    windows: Windows,
    counts: &'a Counts,
    pace: &'a Pace,
}

impl Writer<'_> {
    async fn run(mut self, mut happened: mpsc::Receiver<Event>) -> io::Result<()> {
        let mut opening = PREFACE.to_vec();
        opening.extend(frame(SETTINGS, 0, 0, self.script.settings));
        self.send(&opening).await?;
        let mut streams = Vec::new();
        for block in &self.script.blocks {
            streams.extend(self.open(block));
        }
        self.send(&streams).await?;
        self.send_bodies().await?;
        while let Some(event) = happened.recv().await {
            match event {
                Event::Answer(bytes) => self.send(&bytes).await?,
                Event::Window(window) => {
                    self.windows.take(window);
                    self.send_bodies().await?;
                }
                // A response may be followed by a reset.
                Event::Ended(stream) if self.open.remove(&stream) => {
                    self.counts.stream_ended();
                    self.windows.close(stream);
                    self.reopen().await?;
                }
                Event::Ended(_) => {}
            }
        }
        Ok(())
    }

    async fn reopen(&mut self) -> io::Result<()> {
        let Some(block) = self.script.blocks.last().filter(|_| self.script.reopens) else { return Ok(()) };
        self.pace.turn().await;
        let bytes = self.open(block);
        self.send(&bytes).await
    }

    /// The frames of another stream; none if there have been too many.
    fn open(&mut self, block: &[u8]) -> Vec<u8> {
        if self.next >= LAST_STREAM {
            return Vec::new();
        }
        let stream = self.next;
        self.next += 2;
        self.open.insert(stream);
        self.counts.streams(1);
        if self.script.uploads {
            self.windows.open(stream);
        }
        headers(stream, !self.script.uploads, block)
    }

    async fn send_bodies(&mut self) -> io::Result<()> {
        if self.script.uploads {
            let bodies = self.windows.fill();
            self.send(&bodies).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
