//! One round of a case: each peer has a turn.

use std::fs;
use std::time::Duration;

use postern_tests::Result;
use serde::Serialize;

use super::case::Case;
use super::client::{Client, Outcome, Own, hold};
use super::peer::{Kind, Peer};
use super::upstream::Upstream;

/// A turn that only opens connections and warms caches up.
const WARM_UP: u32 = 1;

/// Figures of a peer's turn; CPU times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Turn {
    #[serde(skip)]
    pub(super) kind: Kind,
    pub(super) proxy: f64,
    pub(super) client: f64,
    pub(super) upstream: f64,
    pub(super) outcome: Outcome,
}

impl Turn {
    /// Returns `true` if the proxy took the most CPU time, so that it was what bounded the load.
    pub(super) fn is_about_proxy(&self) -> bool {
        self.proxy > self.client && self.proxy > self.upstream && self.outcome.succeeded > 0
    }

    /// CPU microseconds of the proxy per request that succeeded.
    pub(super) fn micros(&self) -> f64 {
        self.proxy * 1e6 / self.outcome.succeeded as f64
    }
}

/// Gives each peer a short turn that counts for nothing.
pub(super) async fn warm_up(peers: &[Peer], case: Case) -> Result<()> {
    for peer in peers {
        case.client().run(&peer.directory, peer.https, WARM_UP * case.times_as_long()).await?;
    }
    Ok(())
}

/// Gives each peer a turn. Each round begins with another one, and every other round goes backwards.
pub(super) async fn run(
    peers: &[Peer],
    upstream: &Upstream,
    case: Case,
    seconds: u32,
    number: usize,
) -> Result<Vec<Turn>> {
    let mut order: Vec<&Peer> = peers.iter().collect();
    order.rotate_left(number / 2 % peers.len().max(1));
    if number % 2 == 1 {
        order.reverse();
    }
    let mut turns = Vec::new();
    for peer in order {
        let before = (peer.process.used()?, upstream.used()?, of_children()?);
        let outcome = case.client().run(&peer.directory, peer.https, seconds * case.times_as_long()).await?;
        turns.push(Turn {
            kind: peer.kind,
            proxy: peer.process.used()?.cpu_since(&before.0).as_secs_f64(),
            client: of_children()? - before.2,
            upstream: upstream.used()?.cpu_since(&before.1).as_secs_f64(),
            outcome,
        });
    }
    Ok(turns)
}

/// KiB of memory that a peer takes for each idle connection.
pub(super) async fn idle(peer: &Peer, case: Case, connections: usize) -> Result<f64> {
    /// Connections before those that count: they touch code and tables.
    const FIRST: usize = 100;
    let Client::Own(Own::Hold { http2 }) = case.client() else { return Err("not a case about memory".into()) };
    let first = hold(peer.https, FIRST, http2).await?;
    let before = at_rest(peer).await?;
    let rest = hold(peer.https, connections, http2).await?;
    let after = at_rest(peer).await?;
    drop((first, rest));
    Ok(after.saturating_sub(before) as f64 / 1024.0 / connections as f64)
}

/// Bytes of a peer once they do not change any more.
async fn at_rest(peer: &Peer) -> Result<u64> {
    const PAUSE: Duration = Duration::from_secs(3);
    /// For so long jemalloc keeps pages that are free, and a little more.
    const DECAY: Duration = Duration::from_secs(12);
    tokio::time::sleep(DECAY).await;
    let mut before = peer.process.used()?.anonymous();
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = peer.process.used()?.anonymous();
        if now.abs_diff(before) <= before / 1_000 {
            return Ok(now);
        }
        before = now;
    }
}

/// CPU seconds of children that have ended: the clients (proc(5), fields 16 and 17 of `/proc/self/stat`).
fn of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_command = stat.rsplit_once(") ").ok_or("stat has no command")?.1;
    let fields: Vec<&str> = after_command.split_whitespace().collect();
    let [user, system] = fields.get(13..15).ok_or("stat is too short")? else { return Err("stat is too short".into()) };
    let ticks = user.parse::<u64>()? + system.parse::<u64>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
