//! One round of a case: each peer has a turn.

use std::fs;
use std::time::Duration;

use postern_tests::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::case::Case;
use super::client::{Client, Outcome, Own, hold};
use super::peer::{Kind, Peer};
use super::process::Used;
use super::upstream::Upstream;

/// A turn that only opens connections and warms caches up.
const WARM_UP: u32 = 1;

/// Figures of a peer's turn; CPU times in seconds per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Turn {
    #[serde(skip)]
    pub(super) kind: Kind,
    pub(super) proxy: f64,
    pub(super) client: f64,
    pub(super) upstream: f64,
    /// Requests that succeeded, per second.
    pub(super) rate: f64,
    pub(super) outcome: Outcome,
}

impl Turn {
    /// Returns `true` if the proxy took the most CPU time, so that it was what bounded the load.
    pub(super) fn is_about_proxy(&self) -> bool {
        self.proxy > self.client && self.proxy > self.upstream && self.rate > 0.0
    }

    /// CPU microseconds of the proxy per request that succeeded.
    pub(super) fn micros(&self) -> f64 {
        self.proxy * 1e6 / self.rate
    }
}

/// Gives each peer a short turn that counts for nothing.
pub(super) async fn warm_up(peers: &[Peer], case: Case) -> Result<()> {
    for peer in peers {
        case.client().run(&peer.directory, peer.https, duration(case, WARM_UP)).await?;
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
        turns.push(turn(peer, upstream, case, duration(case, seconds)).await?);
    }
    Ok(turns)
}

/// Seconds of a turn: more where opening the connections takes some.
fn duration(case: Case, seconds: u32) -> u32 {
    if case.is_slow_to_open() { 2 * seconds } else { seconds }
}

async fn turn(peer: &Peer, upstream: &Upstream, case: Case, seconds: u32) -> Result<Turn> {
    let (began, client, mark) = (Instant::now(), of_children()?, Mark::take(peer, upstream)?);
    let load = case.client().run(&peer.directory, peer.https, seconds);
    let (outcome, window) = tokio::join!(load, async {
        if case.is_slow_to_open() { window(peer, upstream, seconds).await.map(Some) } else { Ok(None) }
    });
    let (outcome, elapsed) = (outcome?, began.elapsed().as_secs_f64());
    let client = (of_children()? - client) / elapsed;
    let whole = || -> Result<Window> {
        let rate = outcome.succeeded as f64 / elapsed;
        Ok(Window { rate, ..mark.since(&Mark::take(peer, upstream)?) })
    };
    let Window { proxy, upstream, rate } = window?.map_or_else(whole, Ok)?;
    Ok(Turn { kind: peer.kind, proxy, client, upstream, rate, outcome })
}

/// CPU seconds and requests, per second.
struct Window {
    proxy: f64,
    upstream: f64,
    rate: f64,
}

/// CPU times at one moment.
struct Mark {
    at: Instant,
    proxy: Used,
    upstream: Used,
}

impl Mark {
    fn take(peer: &Peer, upstream: &Upstream) -> Result<Self> {
        Ok(Self { at: Instant::now(), proxy: peer.process.used()?, upstream: upstream.used()? })
    }

    /// Rates between two marks, except that of requests.
    fn since(&self, later: &Self) -> Window {
        let seconds = (later.at - self.at).as_secs_f64();
        let rate = |time: Duration| time.as_secs_f64() / seconds;
        Window {
            proxy: rate(later.proxy.cpu_since(&self.proxy)),
            upstream: rate(later.upstream.cpu_since(&self.upstream)),
            rate: 0.0,
        }
    }
}

/// Rates of the second half of a turn, by the requests that the upstream counts.
async fn window(peer: &Peer, upstream: &Upstream, seconds: u32) -> Result<Window> {
    let seconds = Duration::from_secs(seconds.into());
    sleep(seconds / 2).await;
    let (before, mark) = (upstream.requests().await?, Mark::take(peer, upstream)?);
    sleep(seconds.mul_f64(0.45)).await;
    let (after, later) = (upstream.requests().await?, Mark::take(peer, upstream)?);
    let seconds = (later.at - mark.at).as_secs_f64();
    Ok(Window { rate: (after - before) / seconds, ..mark.since(&later) })
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
    sleep(DECAY).await;
    let mut before = peer.process.used()?.anonymous();
    loop {
        sleep(PAUSE).await;
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
