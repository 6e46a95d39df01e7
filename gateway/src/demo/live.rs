//! The demonstration's live line: what the gateway says of itself, and what the kernel says of its memory.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::traffic::Tally;
use crate::cli::output::say;

/// More than this is not a page of our metrics.
const MAX_METRICS: u64 = 4 * 1024 * 1024;

/// What the line is about.
pub(super) struct Watched {
    /// The gateway's process.
    pub(super) pid: u32,
    /// Where it tells its metrics.
    pub(super) metrics: SocketAddr,
    /// How many services it serves.
    pub(super) services: u32,
}

/// Shows the line until dropped: in place on a terminal, otherwise a new one every five seconds.
pub(super) async fn show(watched: &Watched, tally: &Tally) {
    let terminal = std::io::stdout().is_terminal();
    let mut tick = tokio::time::interval(Duration::from_secs(if terminal { 1 } else { 5 }));
    loop {
        tick.tick().await;
        let figures = scrape(watched.metrics).await.unwrap_or_default();
        let figure = |name: &str| figures.get(name).copied().unwrap_or(0);
        let line = format!(
            "services {} | RSS {} | cached {} ({} of {}) | hits {} misses {} | {tally}",
            watched.services,
            resident(watched.pid).map_or_else(|| "-".to_owned(), |rss| rss.to_string()),
            figure("postern_certstore_entries"),
            ByteSize::b(figure("postern_certstore_bytes")),
            ByteSize::b(figure("postern_certstore_budget_bytes")),
            figure("postern_certstore_hits_total"),
            figure("postern_certstore_misses_total"),
        );
        if terminal {
            // Back to the start of the line, which is cleared; what is too long for the terminal is cut, not wrapped
            // (DECAWM off and on again).
            let mut out = std::io::stdout();
            let _ = write!(out, "\r\x1b[K\x1b[?7l{line}\x1b[?7h").and_then(|()| out.flush());
        } else {
            say(&line);
        }
    }
}

/// Metrics without labels, by name.
async fn scrape(address: SocketAddr) -> std::io::Result<BTreeMap<String, u64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
    let mut page = String::new();
    stream.take(MAX_METRICS).read_to_string(&mut page).await?;
    Ok(page.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.split_once(' ')?;
    let value: f64 = value.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, all within 0 to 2^53")]
    (value >= 0.0).then(|| (name.to_owned(), value as u64))
}

/// The resident memory of a process, as the kernel counts it.
fn resident(pid: u32) -> Option<ByteSize> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(ByteSize::b(pages * u64::try_from(rustix::param::page_size()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_without_labels_are_read() {
        assert_eq!(parse("postern_certstore_entries 12"), Some(("postern_certstore_entries".to_owned(), 12)));
        for line in ["# TYPE x gauge", "x{a=\"b c\"} 1", "x -1", ""] {
            assert!(parse(line).is_none_or(|(name, _)| name.contains('{')), "{line}");
        }
    }
}
