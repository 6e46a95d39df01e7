//! Containers that restart under load. Liveness probes kill them; until they are back they refuse connections, while
//! their endpoints are still Ready.

use std::time::Duration;

use postern_tests::client::Call;
use postern_tests::cluster::{Kind, KnativeService};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, SEED, World, lively_cluster, never, pod};

/// A cluster whose only service has so many pods, all Ready, and a gateway on it.
async fn world_with_pods(count: usize, changed: &str, options: Options) -> Result<(World, KnativeService)> {
    let service = KnativeService::new(NAMESPACE, "cart").replicas(u32::try_from(count)?);
    let cluster = lively_cluster(changed).await?;
    cluster.apply_many(service.objects(cluster.ca())?)?;
    let world = World::of(cluster, &options).await?;
    world.until_ready(&service, count).await?;
    world.send(&url(&service, "")).await?;
    Ok((world, service))
}

fn url(service: &KnativeService, path: &str) -> Call {
    Call::get(&format!("https://{}/{path}", service.external_host()))
}

/// Clients of every kind. What they ask is safe to ask twice.
fn clients(service: &KnativeService) -> Vec<(Call, Habit)> {
    let plain = |path| Call::get(&format!("http://{}/{path}", service.external_host()));
    let mut clients = vec![(url(service, "").http2(), Habit::KeepAlive), (url(service, ""), Habit::ConnectAnew)];
    clients.extend(std::iter::repeat_n((plain(""), Habit::KeepAlive), 3));
    // These are most of the time under way.
    clients.extend(std::iter::repeat_n((plain("-/slow/50"), Habit::KeepAlive), 4));
    clients
}

/// How often the container of a pod has restarted.
fn restarts(world: &World, pod: &str) -> u64 {
    let object = world.cluster.get(Kind::Pod, NAMESPACE, pod).unwrap_or_default();
    object["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

/// Lets this happen to the containers of these pods, and waits until all are back.
async fn restart(world: &World, pods: &[String], how: &str) -> Result<()> {
    let before: Vec<u64> = pods.iter().map(|pod| restarts(world, pod)).collect();
    for pod in pods {
        world.cluster.happen(Kind::Pod, NAMESPACE, pod, how)?;
    }
    eventually("the containers are back", async || {
        let back = pods.iter().zip(&before).all(|(pod, before)| restarts(world, pod) > *before);
        ensure(back && world.cluster.pods().running() >= pods.len(), || "not all of them".to_owned())
    })
    .await
}

/// No answer of the gateway's own was an error, and no endpoint's either.
async fn no_error_was_made(world: &World) -> Result<()> {
    for origin in ["gateway", "upstream"] {
        let errors = world.responses(origin, "5xx").await?;
        ensure(errors == 0.0, || format!("{errors} answers 5xx from the {origin}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn containers_that_crash_one_by_one_under_load_show_no_client_an_error() -> Result<()> {
    let (world, service) = world_with_pods(3, "", Options::default()).await?;
    let load = Load::start(&world, clients(&service));
    load.goes_on(2).await?;
    let mut random = fastrand::Rng::with_seed(SEED);
    for how in ["crash", "oom", "crash", "crash"] {
        restart(&world, &[pod(&service, random.usize(..3))], how).await?;
        load.goes_on(2).await?;
    }
    load.end().await?;
    no_error_was_made(&world).await
}

#[tokio::test]
async fn containers_that_crash_all_at_once_are_waited_for() -> Result<()> {
    let (world, service) = world_with_pods(3, "", Options::default()).await?;
    let pods: Vec<String> = (0..3).map(|number| pod(&service, number)).collect();
    let load = Load::start(&world, clients(&service));
    for _ in 0..3 {
        load.goes_on(2).await?;
        restart(&world, &pods, "crash").await?;
    }
    load.goes_on(2).await?;
    load.end().await?;
    no_error_was_made(&world).await
}

/// Waits until so many errors of the gateway's own and of endpoints are counted: that is after they have been sent.
async fn until_errors(world: &World, own: f64, passed: f64) -> Result<()> {
    eventually("all errors are counted", async || {
        let counted = [world.responses("gateway", "5xx").await?, world.responses("upstream", "5xx").await?];
        let is_right = counted.iter().zip([own, passed]).all(|(counted, wanted)| (counted - wanted).abs() < 0.1);
        ensure(is_right, || format!("{counted:?}"))
    })
    .await
}

#[tokio::test]
async fn an_oom_killed_container_that_is_alone_is_waited_for() -> Result<()> {
    let (world, service) = world_with_pods(1, "", Options::default()).await?;
    let load = Load::start(&world, clients(&service));
    for _ in 0..3 {
        load.goes_on(2).await?;
        restart(&world, &[pod(&service, 0)], "oom").await?;
    }
    load.goes_on(2).await?;
    load.end().await?;
    no_error_was_made(&world).await
}

#[tokio::test]
async fn a_request_that_may_change_something_waits_for_the_restart_and_is_executed_once() -> Result<()> {
    let (world, service) = world_with_pods(1, &never("pod-restarts"), Options::default()).await?;
    let name = pod(&service, 0);
    world.cluster.happen(Kind::Pod, NAMESPACE, &name, "crash")?;
    eventually("the container is gone", async || ensure(world.cluster.pods().running() == 0, || "no".into())).await?;
    let posted = Call::post(&format!("https://{}/", service.external_host()), "order");
    let (gateway, tls) = (world.gateway.clone(), world.tls.clone());
    let posting = tokio::spawn(async move { posted.send(&gateway, &tls).await });
    eventually("the request waits", async || {
        let waiting = world.gateway.metrics().await?.sum("postern_upstream_waiting_requests");
        ensure(waiting > 0.0, || format!("{waiting} wait"))
    })
    .await?;
    let mut object = world.cluster.get(Kind::Pod, NAMESPACE, &name).ok_or("no pod")?;
    object["status"]["containerStatuses"][0]["state"] = serde_json::json!({"running": {}});
    world.cluster.apply(object)?;
    assert_eq!(posting.await??.seen()?.method, "POST");
    assert_eq!(world.cluster.pods().requests(NAMESPACE, &name), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_container_that_does_not_come_back_in_time_is_the_gateways_own_503() -> Result<()> {
    let wait = Duration::from_millis(300);
    let options = Options::default().argument(format!("--endpoint-wait={}ms", wait.as_millis()));
    let (world, service) = world_with_pods(1, &never("pod-restarts"), options).await?;
    world.cluster.happen(Kind::Pod, NAMESPACE, &pod(&service, 0), "crash")?;
    eventually("the container is gone", async || ensure(world.cluster.pods().running() == 0, || "no".into())).await?;
    assert_eq!(world.send(&url(&service, "")).await?.status, 503);
    until_errors(&world, 1.0, 0.0).await
}

#[tokio::test]
async fn a_502_of_the_queue_proxys_own_passes_and_is_counted_as_the_upstreams() -> Result<()> {
    let (world, service) = world_with_pods(1, "", Options::default()).await?;
    for call in [url(&service, "-/status/502"), url(&service, "-/status/502").http2()] {
        let reply = world.send(&call).await?;
        assert_eq!((reply.status, reply.header("x-backend")), (502, Some(pod(&service, 0).as_str())));
    }
    assert_eq!(world.cluster.pods().requests(NAMESPACE, &pod(&service, 0)), Some(3), "none is sent twice");
    until_errors(&world, 0.0, 2.0).await
}
