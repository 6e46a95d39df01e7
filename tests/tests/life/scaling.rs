//! Services that scale to zero and back, and pods that terminate, under load.

use postern_tests::backend::Backend;
use postern_tests::client::{Call, Reply};
use postern_tests::cluster::{Kind, KnativeService};
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, World, lively_cluster, never, pod};

fn calls(service: &KnativeService) -> Vec<(Call, Habit)> {
    let (plain, tls) =
        ["http", "https"].map(|scheme| Call::get(&format!("{scheme}://{}/", service.external_host()))).into();
    vec![(plain, Habit::KeepAlive), (tls.clone(), Habit::ConnectAnew), (tls.http2(), Habit::KeepAlive)]
}

#[tokio::test]
async fn a_service_that_scales_to_zero_and_back_shows_no_client_an_error() -> Result<()> {
    let activator = Backend::http1("activator").await?;
    let service = KnativeService::new(NAMESPACE, "cart").activator(activator.address()).replicas(0);
    let cluster = lively_cluster("").await?;
    cluster.apply_many(service.objects(cluster.ca())?)?;
    let world = World::of(cluster, &Options::default()).await?;
    let call = Call::get(&format!("http://{}/", service.external_host()));
    world.until_answered_by(&call, "activator").await?;
    let load = Load::start(&world, calls(&service));
    for _ in 0..3 {
        world.cluster.happen(Kind::Service, NAMESPACE, &service.revision(), "wake")?;
        world.until_answered_by(&call, &pod(&service, 0)).await?;
        load.goes_on(3).await?;
        world.cluster.happen(Kind::Service, NAMESPACE, &service.revision(), "idle")?;
        world.until_answered_by(&call, "activator").await?;
        load.goes_on(3).await?;
        eventually("the pod is gone", async || ensure(world.cluster.count(Kind::Pod) == 0, || "not yet".into()))
            .await?;
    }
    let answers = load.end().await?;
    assert_eq!(answers.len(), 2, "both have answered: {answers:?}");
    Ok(())
}

#[tokio::test]
async fn pods_that_terminate_under_load_show_no_client_an_error() -> Result<()> {
    let service = KnativeService::new(NAMESPACE, "cart").replicas(4);
    let cluster = lively_cluster("").await?;
    cluster.apply_many(service.objects(cluster.ca())?)?;
    let world = World::of(cluster, &Options::default()).await?;
    world.until_ready(&service, 4).await?;
    let load = Load::start(&world, calls(&service));
    for count in [1, 3, 2, 4, 1] {
        world.cluster.scale(NAMESPACE, &service.revision(), count)?;
        world.until_ready(&service, usize::try_from(count)?).await?;
        load.goes_on(3).await?;
    }
    load.end().await.map(drop)
}

#[tokio::test]
async fn a_request_under_way_in_a_terminating_pod_is_finished_and_new_ones_go_elsewhere() -> Result<()> {
    let service = KnativeService::new(NAMESPACE, "cart").replicas(1);
    let cluster = lively_cluster(&never("pod-terminates")).await?;
    cluster.apply_many(service.objects(cluster.ca())?)?;
    let world = World::of(cluster, &Options::default()).await?;
    world.until_ready(&service, 1).await?;
    let host = service.external_host();
    let long = Call::get(&format!("https://{host}/-/parts/3")).http2();
    let under_way = long.open(&world.gateway, &world.tls).await?;
    world.cluster.scale(NAMESPACE, &service.revision(), 2)?;
    world.until_ready(&service, 2).await?;
    world.cluster.delete(Kind::Pod, NAMESPACE, &pod(&service, 0));
    world.cluster.scale(NAMESPACE, &service.revision(), 1)?;
    let call = Call::get(&format!("http://{host}/"));
    world.until_answered_by(&call, &pod(&service, 1)).await?;
    eventually("the gateway has left it", async || {
        let before = world.cluster.pods().requests(NAMESPACE, &pod(&service, 0));
        for _ in 0..20 {
            world.send(&call).await?;
        }
        let after = world.cluster.pods().requests(NAMESPACE, &pod(&service, 0));
        ensure(before == after, || format!("it was asked: {before:?}, {after:?}"))
    })
    .await?;
    world.cluster.pods().permit(NAMESPACE, &pod(&service, 0), 3);
    let reply = Reply::read(under_way).await?;
    assert_eq!((reply.status, reply.body.len()), (200, 3 << 10));
    Ok(())
}
