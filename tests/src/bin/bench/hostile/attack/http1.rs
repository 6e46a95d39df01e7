//! Attacks over HTTP/1.1: responses that are read slowly or not at all, and uploads that get nowhere.

use std::io;
use std::time::Duration;

use postern_tests::client::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::site::HOST;
use super::counts::Counts;

/// A connection is held at least this long; it is then given up, since one that reads nothing does not see a close.
const HOLD: Duration = Duration::from_secs(8);

/// Connections are held up to this much longer, so that not all end at once.
const SPREAD: Duration = Duration::from_secs(4);

/// Requests, and what is done afterwards.
#[derive(Clone, Debug)]
pub(in super::super) struct Http1 {
    requests: String,
    then: Then,
}

/// Behaviour after the requests.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Then {
    /// Reads this much at a time.
    Read { bytes: usize, every: Duration },
    /// Reads nothing.
    Wait,
    /// Sends a body as fast as it is taken.
    Upload,
}

/// A GET.
pub(in super::super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// The head of a POST.
pub(in super::super) fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n")
}

impl Http1 {
    pub(in super::super) fn new(requests: String, then: Then) -> Self {
        Self { requests, then }
    }

    pub(super) async fn run(&self, mut stream: Box<dyn Stream>, number: usize, counts: &Counts) -> io::Result<()> {
        const STEPS: u32 = 64;
        let step = u32::try_from(number).unwrap_or_default() % STEPS;
        let gives_up = Instant::now() + HOLD + SPREAD / STEPS * step;
        stream.write_all(self.requests.as_bytes()).await?;
        stream.flush().await?;
        counts.streams(self.requests.matches(" HTTP/1.1\r\n").count());
        let goes_on = async {
            match self.then {
                Then::Read { bytes, every } => sip(&mut stream, bytes, every).await,
                Then::Wait => std::future::pending().await,
                Then::Upload => upload(stream).await,
            }
        };
        tokio::select! {
            ended = goes_on => ended,
            () = sleep_until(gives_up) => Ok(()),
        }
    }
}

async fn sip(stream: &mut Box<dyn Stream>, bytes: usize, every: Duration) -> io::Result<()> {
    let mut buffer = vec![0; bytes];
    while stream.read(&mut buffer).await? > 0 {
        sleep(every).await;
    }
    Ok(())
}

/// Sends until the connection breaks or an answer comes.
async fn upload(stream: Box<dyn Stream>) -> io::Result<()> {
    static BODY: [u8; 16 * 1024] = [b'u'; 16 * 1024];
    let (mut reader, mut writer) = split(stream);
    let sending = async {
        loop {
            writer.write_all(&BODY).await?;
        }
    };
    let mut answer = [0; 1024];
    tokio::select! {
        ended = sending => ended,
        read = reader.read(&mut answer) => read.map(drop),
    }
}
