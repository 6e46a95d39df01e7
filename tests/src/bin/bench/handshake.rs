//! CPU time per handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postern_tests::client::TlsClient;
use postern_tests::client::tls::{close, connect};
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};
use tokio::task::JoinSet;

use crate::fleet::{Fleet, host};
use crate::report::Report;
use crate::run::start;

/// Clients at the same time.
const CLIENTS: usize = 4;

/// Handshakes for one sample.
const HANDSHAKES: usize = 2_000;

/// Services; with the small budget far more than can be cached.
const SERVICES: usize = 500;

/// A budget for a handful of certificates.
const SMALL: &str = "16KiB";

/// Measures all kinds.
pub(crate) async fn measure(repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "handshake",
        format!(
            "CPU time of the gateway per TLS 1.3 connection, from accept to close, by {CLIENTS} clients at a time; ECDSA P-256 \
             leaf without intermediates; misses: {SERVICES} names in turn with a cache of {SMALL}"
        ),
    );
    let fleet = Fleet::write(SERVICES, None)?;
    let client = fleet.client()?;
    let classic = client.x25519();
    let large = start(fleet.path(), "8MiB").await?.gateway;
    let small = start(fleet.path(), SMALL).await?.gateway;
    load_all(&large, &client).await.map_err(|error| large.explain(error))?;
    for _ in 0..repeat {
        report.sample("full, X25519, cached", "µs", cpu(&large, &classic, 1, false).await?);
        report.sample("full, X25519MLKEM768, cached", "µs", cpu(&large, &client, 1, false).await?);
        report.sample("resumed, X25519", "µs", cpu(&large, &classic.resuming(), 1, true).await?);
        report.sample("full, X25519, 500 cached names in turn", "µs", cpu(&large, &classic, SERVICES, false).await?);
        let before = misses(&small).await?;
        report.sample("full, X25519, certificate not cached", "µs", cpu(&small, &classic, SERVICES, false).await?);
        let share = (misses(&small).await? - before) / HANDSHAKES as f64;
        ensure(share > 0.9, || format!("only {share} of the handshakes missed the cache"))?;
    }
    Ok(report)
}

/// Brings all certificates into the cache.
async fn load_all(gateway: &Gateway, client: &TlsClient) -> Result<()> {
    for name in 0..SERVICES {
        client.handshake(gateway.address("external-https")?, Some(&host(name))).await?;
    }
    Ok(())
}

async fn misses(gateway: &Gateway) -> Result<f64> {
    Ok(gateway.metrics().await?.sum("postern_certstore_misses_total"))
}

/// CPU microseconds per handshake, over many with this number of names in turn.
async fn cpu(gateway: &Gateway, client: &TlsClient, names: usize, resumed: bool) -> Result<f64> {
    shake_all(gateway, client, names, resumed).await.map_err(|error| gateway.explain(error))
}

async fn shake_all(gateway: &Gateway, client: &TlsClient, names: usize, resumed: bool) -> Result<f64> {
    let address = gateway.address("external-https")?;
    let next = Arc::new(AtomicUsize::new(0));
    let work = |count| shake_hands(address, client.clone(), names, Arc::clone(&next), count, resumed);
    // The first handshakes fill session caches and warm up both sides.
    work(10).await?;
    let before = gateway.usage()?;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(work(HANDSHAKES / CLIENTS));
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(gateway.usage()?.cpu_since(&before).as_secs_f64() * 1e6 / HANDSHAKES as f64)
}

async fn shake_hands(
    address: SocketAddr,
    client: TlsClient,
    names: usize,
    next: Arc<AtomicUsize>,
    count: usize,
    resumed: bool,
) -> Result<()> {
    // Sessions are not shared between the clients, so that each has tickets of its own.
    let config = if resumed { client.resuming().config()? } else { client.config()? };
    for number in 0..count {
        let name = host(next.fetch_add(1, Ordering::Relaxed) % names);
        let (stream, peer) = connect(&config, address, Some(&name)).await?;
        close(stream).await;
        let expected = resumed && number > 0;
        ensure(peer.resumed == expected, || format!("handshake {number} of {name}: resumed is {}", peer.resumed))?;
    }
    Ok(())
}
