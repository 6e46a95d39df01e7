//! What a renewed certificate costs.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use postern_tests::client::TlsClient;
use postern_tests::gateway::Gateway;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::fleet::{Fleet, host};
use crate::report::Report;
use crate::run::{at_rest, idle_rate, start};

/// Services whose certificates are cached.
const CACHED: usize = 50;

/// Rotations for one sample of CPU time.
const ROTATIONS: usize = 100;

/// Rotations of which the time until they are served is taken, for one sample.
const TIMED: usize = 20;

/// Between two rotations: longer than changes are collected for, so that each is handled by itself.
const PAUSE: Duration = Duration::from_millis(200);

/// Measures with each of these numbers of services.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "rotate",
        format!(
            "one certificate after the other is renewed by an atomic rename, {PAUSE:?} apart; CPU time of the gateway (what it \
             uses at rest is taken off), and time from the rename until a new handshake sees the new certificate. Wanted: at \
             most 1 ms of CPU, and the same within 1.5 x at any number of services"
        ),
    );
    for &count in counts {
        let fleet = Fleet::write(count, None)?;
        let gateway = start(fleet.path(), "64MiB").await?.gateway;
        let address = gateway.address("external-https")?;
        let client = fleet.client()?.x25519();
        let cached = 0..CACHED.min(count);
        for number in cached.clone() {
            client.handshake(address, Some(&host(number))).await?;
        }
        at_rest(&gateway).await?;
        let measuring = async {
            for _ in 0..repeat {
                let mut sample = |name: &str, value| report.sample(format!("{count} services: {name}"), "ms", value);
                sample("CPU per rotation, certificate cached", 1e3 * cpu(&fleet, &gateway, &cached).await?);
                if count > cached.end {
                    sample("CPU per rotation, not cached", 1e3 * cpu(&fleet, &gateway, &(cached.end..count)).await?);
                }
                for number in cached.clone().cycle().take(TIMED) {
                    let took = until_served(&fleet, &client, address, number).await?;
                    sample("time until served", 1e3 * took.as_secs_f64());
                }
            }
            ensure_all_seen(&fleet, &client, address, cached.clone()).await
        };
        measuring.await.map_err(|error| gateway.explain(error))?;
    }
    Ok(report)
}

/// CPU seconds for one rotation, over many among these services.
async fn cpu(fleet: &Fleet, gateway: &Gateway, services: &Range<usize>) -> Result<f64> {
    let at_rest = idle_rate(gateway).await?;
    let (began, before) = (Instant::now(), gateway.usage()?);
    for number in services.clone().cycle().take(ROTATIONS) {
        fleet.renew(number)?;
        tokio::time::sleep(PAUSE).await;
    }
    let used = gateway.usage()?.cpu_since(&before).as_secs_f64();
    Ok((used - at_rest * began.elapsed().as_secs_f64()) / ROTATIONS as f64)
}

/// Time from the rename until a handshake sees the new certificate.
async fn until_served(fleet: &Fleet, client: &TlsClient, address: SocketAddr, number: usize) -> Result<Duration> {
    let serial = fleet.renew(number)?;
    let began = Instant::now();
    let (name, config) = (host(number), client.config()?);
    loop {
        let (_stream, peer) = postern_tests::client::tls::connect(&config, address, Some(&name)).await?;
        if peer.serial == serial {
            return Ok(began.elapsed());
        }
        ensure(began.elapsed() < Duration::from_secs(30), || format!("{name} still has certificate {}", peer.serial))?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// No rotation was lost on the way: a last one of each service is seen.
async fn ensure_all_seen(fleet: &Fleet, client: &TlsClient, address: SocketAddr, services: Range<usize>) -> Result<()> {
    let serials = services.clone().map(|number| fleet.renew(number)).collect::<Result<Vec<_>>>()?;
    for (number, serial) in services.zip(serials) {
        eventually("the last rotation is served", async || {
            let peer = client.handshake(address, Some(&host(number))).await?;
            ensure(peer.serial == serial, || format!("{} has certificate {}", host(number), peer.serial))
        })
        .await?;
    }
    Ok(())
}
