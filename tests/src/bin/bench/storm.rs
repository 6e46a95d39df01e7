//! Whether memory comes back after a storm.

use std::time::Duration;

use postern_tests::ca::KeyKind;
use postern_tests::client::TlsClient;
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fleet::Fleet;
use crate::load::{EXAMPLE, hold_all, shake_all};
use crate::report::Report;
use crate::run::{at_rest, start};

/// Connections at the same time.
const CONNECTIONS: usize = 20_000;

/// Certificates that are loaded while these are open, per connection.
const LOADS_PER_CONNECTION: f64 = 2.5;

/// Files that either process needs besides these connections.
const OTHER_FILES: usize = 500;

/// A budget for a tenth of these certificates.
const CERT_CACHE: &str = "32MiB";

/// Measures with each of these numbers of connections; none stands for 20,000.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "storm",
        format!(
            "RSS of the gateway before a storm of N connections and {LOADS_PER_CONNECTION} x N loads with a cache of {CERT_CACHE} \
             that is full, at its peak, and 60 s after all have gone. Wanted: within 15 % of before"
        ),
    );
    let counts = if counts.is_empty() { &[CONNECTIONS] } else { counts };
    for &wanted in counts {
        let connections = wanted.min(raise_file_limit(wanted)?);
        if connections < wanted {
            eprintln!("only {connections} connections: no more files may be opened");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousands")]
        let services = (connections as f64 * LOADS_PER_CONNECTION) as usize + EXAMPLE;
        let fleet = Fleet::write_with(services, None, KeyKind::P256)?;
        for _ in 0..repeat {
            let gateway = start(fleet.path(), CERT_CACHE).await?.gateway;
            let storm = storm(&gateway, &fleet.client()?, connections, services).await;
            let [before, peak, after] = storm.map_err(|error| gateway.explain(error))?;
            let mut sample = |name: &str, unit, value| report.sample(format!("{connections}: {name}"), unit, value);
            sample("RSS before", "MiB", before as f64 / f64::from(1 << 20));
            sample("RSS while all are open", "MiB", peak as f64 / f64::from(1 << 20));
            sample("RSS 60 s after", "MiB", after as f64 / f64::from(1 << 20));
            sample("after / before", "x", after as f64 / before as f64);
        }
    }
    Ok(report)
}

/// RSS before, while all connections are open, and a minute after they have gone.
async fn storm(gateway: &Gateway, client: &TlsClient, connections: usize, services: usize) -> Result<[u64; 3]> {
    // What is cached is not what a storm leaves behind.
    shake_all(gateway, client, 0..services).await?;
    let before = at_rest(gateway).await?.rss;
    let held = hold_all(gateway, client, 0..connections, true).await?;
    shake_all(gateway, client, connections..services).await?;
    let open = gateway.metrics().await?.sum("postern_listener_connections");
    ensure(open >= connections as f64, || format!("only {open} of {connections} connections are open"))?;
    let peak = gateway.usage()?.rss;
    drop(held);
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok([before, peak, gateway.usage()?.rss])
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
