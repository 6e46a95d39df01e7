//! A storm of Ingress events while the API server takes 5 s to answer: the process stays alive and small, what is
//! configured is served, and the last state wins.
//!
//! net-istio's liveness probe failed when its queue was long, so that it was restarted, and began with a longer queue.

use std::sync::Arc;
use std::time::Duration;

use postern_tests::backend::Backend;
use postern_tests::client::{Call, Reply, get_plain};
use postern_tests::cluster::{Cluster, Fault, Options as ClusterOptions, Rule, Silence};
use postern_tests::gateway::{Gateway, Options};
use postern_tests::manifests::{Ingress, Service};
use postern_tests::patience::eventually_within;
use postern_tests::{Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, World};

/// Ingresses that change in turn.
const INGRESSES: usize = 250;

/// How often each changes.
const ROUNDS: usize = 200;

/// How long the API server takes to answer.
const SLOW: Duration = Duration::from_secs(5);

/// A probe fails when it has no answer by then: the kubelet's default `timeoutSeconds`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// So many probes that fail in a row end a container: the kubelet's default `failureThreshold`.
const FAILURE_THRESHOLD: u32 = 3;

/// What the process may grow by, at the most, while 50,000 events come: the bound of what waits to be translated.
const GROWTH: u64 = 32 << 20;

/// Twice the server's answers, and some for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn host(number: usize) -> String {
    format!("i{number}.test")
}

/// An Ingress that has had so many changes. Only the last path leads anywhere.
fn ingress(number: usize, round: usize) -> serde_json::Value {
    let path = format!("/v{round}");
    Ingress::new(NAMESPACE, &format!("i{number}")).rule(Some(&host(number)), &[("Prefix", &path, "web")]).object()
}

/// Asks for liveness as the kubelet does, only more often. Returns how many probes there were, and the most that failed in
/// a row.
async fn probe(gateway: Arc<Gateway>, ends: CancellationToken) -> Result<(u32, u32)> {
    let address = gateway.address("metrics")?;
    let (mut probes, mut failures, mut most) = (0, 0, 0);
    while !ends.is_cancelled() {
        let answer = tokio::time::timeout(PROBE_TIMEOUT, get_plain(address, "/livez")).await;
        let is_alive = matches!(answer, Ok(Ok(reply)) if reply.status == 200);
        failures = if is_alive { 0 } else { failures + 1 };
        most = most.max(failures);
        probes += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((probes, most))
}

/// Every Ingress serves its last path, and not the one before.
async fn last_state_is_served(world: &World) -> Result<()> {
    let paths = [(ROUNDS - 1, 200), (ROUNDS - 2, 404)];
    let mut connection = Call::get("http://i0.test/").connect(&world.gateway, &world.tls).await?;
    for number in 0..INGRESSES {
        for (round, status) in paths {
            let url = format!("http://{}/v{round}", host(number));
            let reply = Reply::read(connection.send(&Call::get(&url)).await?).await?;
            ensure(reply.status == status, || format!("{url} answers {} instead of {status}", reply.status))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_ingress_events_from_a_slow_api_server_leave_the_process_alive_and_small() -> Result<()> {
    let backend = Backend::http1("web").await?;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.apply_many(Service::new(NAMESPACE, "web").endpoint(backend.address()).objects())?;
    cluster.apply(Ingress::new(NAMESPACE, "web").rule(Some("web.test"), &[("Prefix", "/", "web")]).object())?;
    let world = World::of(cluster, &Options::default()).await?;
    let load = Load::start(&world, [(Call::get("http://web.test/"), Habit::KeepAlive)]);
    load.goes_on(2).await?;
    let ends = CancellationToken::new();
    let probing = tokio::spawn(probe(Arc::clone(&world.gateway), ends.clone()));
    world.cluster.faults().add(Rule::on_all(Fault::Delay { by: SLOW }));
    world.cluster.apply_many((0..INGRESSES).map(|number| ingress(number, 0)))?;
    let (before, mut most) = (world.gateway.usage()?.rss, 0);
    for round in 1..ROUNDS {
        world.cluster.apply_many((0..INGRESSES).map(|number| ingress(number, round)))?;
        if round == ROUNDS / 2 {
            // Half of the events come while every watch waits to begin again, which is more than the server remembers.
            world.cluster.silence_for(Silence::Refusing, Duration::from_millis(100)).await;
        }
        most = most.max(world.gateway.usage()?.rss);
        tokio::task::yield_now().await;
    }
    eventually_within(PATIENCE, "the last state", async || {
        most = most.max(world.gateway.usage()?.rss);
        last_state_is_served(&world).await
    })
    .await?;
    load.goes_on(2).await?;
    load.end().await?;
    ends.cancel();
    let (probes, failed) = probing.await??;
    eprintln!("{probes} probes, at most {failed} failed in a row; from {before} to {most} bytes");
    assert!(failed < FAILURE_THRESHOLD, "{failed} of {probes} probes failed in a row");
    assert!(most < before + GROWTH, "from {before} to {most} bytes");
    Ok(())
}
