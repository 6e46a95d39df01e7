//! Whether memory comes back after a storm.

use std::time::Duration;

use postern_tests::ca::KeyKind;
use postern_tests::client::TlsClient;
use postern_tests::gateway::Gateway;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fleet::Fleet;
use crate::load::{hold_all, shake_all};
use crate::report::Report;
use crate::run::{at_rest, start};

/// Connections of the storm.
const CONNECTIONS: usize = 20_000;

/// Certificates that are loaded by these and while they are open, for two connections.
const LOADS_PER_PAIR: usize = 5;

/// Files that either process needs besides these connections.
const OTHER_FILES: usize = 500;

/// Connections of those that the gateway accepts that are left for loads, and for looking at it.
const SPARE: usize = 100;

/// The budget for certificates.
const CERT_CACHE: &str = "32MiB";

/// More certificates than have room in it: it is full before the storm, of others than the storm asks for.
const FILLING: usize = 17_000;

/// Measures with each of these numbers of connections; none stands for 20,000.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "storm",
        format!(
            "RSS of the gateway before a storm of N connections and {LOADS_PER_PAIR}/2 x N loads with a cache of {CERT_CACHE} \
             that is full, at its peak, and 60 s after all have gone. Where fewer may be open than N, they come in waves of \
             as many. Wanted: within 15 % of before"
        ),
    );
    let counts = if counts.is_empty() { &[CONNECTIONS] } else { counts };
    for &connections in counts {
        let files = raise_file_limit(connections)?;
        let services = FILLING + connections * LOADS_PER_PAIR / 2;
        let fleet = Fleet::write_with(services, None, KeyKind::P256)?;
        for _ in 0..repeat {
            let gateway = start(fleet.path(), CERT_CACHE).await?.gateway;
            let storm = storm(&gateway, &fleet.client()?, connections, files).await;
            let Storm { at_once, before, peak, after } = storm.map_err(|error| gateway.explain(error))?;
            let mut sample = |name: &str, unit, value| report.sample(format!("{connections}: {name}"), unit, value);
            sample("open at the same time", "", at_once as f64);
            sample("RSS before", "MiB", before as f64 / f64::from(1 << 20));
            sample("RSS while most are open", "MiB", peak as f64 / f64::from(1 << 20));
            sample("RSS 60 s after", "MiB", after as f64 / f64::from(1 << 20));
            sample("after / before", "x", after as f64 / before as f64);
        }
    }
    Ok(report)
}

/// What a storm did; memory is bytes of RSS.
struct Storm {
    /// Connections that were open at the same time.
    at_once: usize,
    before: u64,
    /// While most connections were open.
    peak: u64,
    /// A minute after all have gone.
    after: u64,
}

/// Makes so many connections, as many at a time as the gateway accepts and these files allow.
async fn storm(gateway: &Gateway, client: &TlsClient, connections: usize, files: usize) -> Result<Storm> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let accepted = gateway.metrics().await?.sum("postern_max_connections") as usize;
    let at_once = connections.min(files).min(accepted.saturating_sub(SPARE));
    ensure(at_once > 0, || format!("no connection: {files} may be open here, {accepted} are accepted"))?;
    // What is cached is not what a storm leaves behind.
    shake_all(gateway, client, 0..FILLING).await?;
    let before = at_rest(gateway).await?.rss;
    let loaded = loads(gateway).await?;
    let mut peak = before;
    let mut next = FILLING;
    for first in (0..connections).step_by(at_once) {
        let wave = at_once.min(connections - first);
        let held = hold_all(gateway, client, next..next + wave, true).await?;
        let end = next + wave * LOADS_PER_PAIR / 2;
        shake_all(gateway, client, next + wave..end).await?;
        next = end;
        let open = open_connections(gateway).await?;
        ensure(open >= wave as f64, || format!("only {open} of {wave} connections are open"))?;
        peak = peak.max(gateway.usage()?.rss);
        drop(held);
        all_closed(gateway).await?;
    }
    let (loaded, asked) = (loads(gateway).await? - loaded, (next - FILLING) as f64);
    ensure(loaded > 0.99 * asked, || format!("only {loaded} of {asked} certificates were loaded"))?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(Storm { at_once, before, peak, after: gateway.usage()?.rss })
}

/// Waits until the gateway has seen that all connections are closed.
async fn all_closed(gateway: &Gateway) -> Result<()> {
    eventually("all connections are closed", async || {
        let open = open_connections(gateway).await?;
        ensure(open < 0.5, || format!("{open} are open"))
    })
    .await
}

async fn loads(gateway: &Gateway) -> Result<f64> {
    Ok(gateway.metrics().await?.sum("postern_certstore_misses_total"))
}

async fn open_connections(gateway: &Gateway) -> Result<f64> {
    let metrics = gateway.metrics().await?;
    Ok(metrics.sum_where("postern_listener_connections", "listener=\"external-https\""))
}

/// Lets this process and its children open files for so many connections, if it may. Returns for how many they can.
fn raise_file_limit(connections: usize) -> Result<usize> {
    let wanted = u64::try_from(connections + OTHER_FILES)?;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|files| files >= wanted) {
        return Ok(connections);
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    let raised = raised.or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }));
    raised?;
    let files = getrlimit(Resource::Nofile).current.map(usize::try_from).transpose()?;
    Ok(files.map_or(connections, |files| files.saturating_sub(OTHER_FILES)).min(connections))
}
