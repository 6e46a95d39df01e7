//! The whole gateway on a cluster: `postern gateway --source kube`.

use postern_tests::backend::Backend;
use postern_tests::client::{Call, TlsClient};
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options as ClusterOptions, Silence, Verb};
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

/// A gateway on a cluster with one service, whose certificate nobody has asked for.
struct World {
    cluster: Cluster,
    service: KnativeService,
    gateway: Gateway,
    tls: TlsClient,
    /// Its endpoint; gone when dropped.
    _backend: Backend,
}

impl World {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default()).await?;
        let backend = Backend::http1("cart").await?;
        let service = KnativeService::new("shop", "cart").endpoint(backend.address());
        cluster.apply_many(service.objects(cluster.ca())?)?;
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        let gateway = Gateway::start_on(&program, &cluster, &Options::default()).await?;
        let tls = TlsClient::new(cluster.ca())?;
        Ok(Self { cluster, service, gateway, tls, _backend: backend })
    }

    fn call(&self) -> Call {
        Call::get(&format!("https://{}/", self.service.external_host()))
    }

    async fn serial(&self) -> Result<u64> {
        let host = self.service.external_host();
        Ok(self.tls.handshake(self.gateway.address("external-https")?, Some(&host)).await?.serial)
    }
}

#[tokio::test]
async fn a_service_of_the_cluster_is_served_and_its_secret_fetched_once() -> Result<()> {
    let world = World::start().await?;
    assert_eq!(world.cluster.requests().count(Verb::Get, Kind::Secret), 0, "nobody has asked for the certificate");
    for _ in 0..3 {
        let reply = world.call().send(&world.gateway, &world.tls).await?;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(world.cluster.requests().count(Verb::Get, Kind::Secret), 1);
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_reaches_new_handshakes() -> Result<()> {
    let world = World::start().await?;
    let old = world.serial().await?;
    world.cluster.apply_many(world.service.objects(world.cluster.ca())?)?;
    eventually("the new certificate is served", async || {
        ensure(world.serial().await? != old, || "still the old one".to_owned())
    })
    .await
}

#[tokio::test]
async fn an_absent_api_server_takes_nothing_away() -> Result<()> {
    let world = World::start().await?;
    assert_eq!(world.call().send(&world.gateway, &world.tls).await?.status, 200);
    world.cluster.silence(Silence::Refusing);
    for _ in 0..5 {
        assert_eq!(world.call().send(&world.gateway, &world.tls).await?.status, 200);
    }
    world.cluster.silence(Silence::Answering);
    let old = world.serial().await?;
    world.cluster.apply_many(world.service.objects(world.cluster.ca())?)?;
    eventually("changes are followed again", async || {
        ensure(world.serial().await? != old, || "still the old one".to_owned())
    })
    .await
}
