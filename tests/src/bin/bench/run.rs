//! Starting the gateway for a measurement.

use std::path::Path;
use std::time::{Duration, Instant};

use postern_tests::gateway::{Gateway, Options, Program, Usage};
use postern_tests::patience::eventually_within;
use postern_tests::{Result, ensure};

use crate::GATEWAY;
use crate::cluster::Cluster;

/// A hundred thousand services are read from a cold disk within this.
const START: Duration = Duration::from_secs(600);

/// For so long jemalloc keeps pages that are free before it gives them back (`opt.dirty_decay_ms`), and a little more.
const DECAY: Duration = Duration::from_secs(12);

/// A gateway that has just become ready, and what that took.
pub(crate) struct Started {
    pub(crate) gateway: Gateway,
    pub(crate) seconds: f64,
    pub(crate) usage: Usage,
}

/// Starts a gateway on a directory, without access log.
pub(crate) async fn start(manifests: &Path, cert_cache: &str) -> Result<Started> {
    start_with(manifests, cert_cache, &[]).await
}

/// Starts a gateway on a cluster, without access log.
pub(crate) async fn start_on(cluster: &Cluster, cert_cache: &str) -> Result<Started> {
    start_on_with(cluster, cert_cache, &[]).await
}

/// [`start_on`], with more arguments.
pub(crate) async fn start_on_with(cluster: &Cluster, cert_cache: &str, more: &[String]) -> Result<Started> {
    let arguments: Vec<_> = cluster.arguments().into_iter().chain(more.iter().cloned()).collect();
    start_with(Path::new("/"), cert_cache, &arguments).await
}

/// Starts a gateway with more arguments, without access log.
pub(crate) async fn start_with(manifests: &Path, cert_cache: &str, more: &[String]) -> Result<Started> {
    let options = Options::default().cert_cache(cert_cache).patience(START).quiet();
    let options =
        ["--access-log", "off", "--log-level", "warn,postern=info"].into_iter().fold(options, Options::argument);
    let options = more.iter().fold(options, Options::argument);
    let began = Instant::now();
    let gateway = Gateway::start(&Program::this_executable(GATEWAY)?, manifests, &options).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Started { usage: gateway.usage()?, gateway, seconds })
}

/// Waits until the memory of a gateway that does nothing has come to rest, and returns what it uses then.
pub(crate) async fn at_rest(gateway: &Gateway) -> Result<Usage> {
    tokio::time::sleep(DECAY).await;
    let mut before = gateway.usage()?;
    eventually_within(Duration::from_secs(60), "memory is at rest", async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = gateway.usage()?;
        let moved = now.rss.abs_diff(before.rss);
        before = now;
        ensure(moved <= before.rss / 1_000, || format!("moved by {moved} bytes"))
    })
    .await?;
    Ok(before)
}

/// CPU time per second that a gateway uses while nobody wants anything of it.
pub(crate) async fn idle_rate(gateway: &Gateway) -> Result<f64> {
    const WATCHED: Duration = Duration::from_secs(3);
    let before = gateway.usage()?;
    tokio::time::sleep(WATCHED).await;
    Ok(gateway.usage()?.cpu_since(&before).as_secs_f64() / WATCHED.as_secs_f64())
}
