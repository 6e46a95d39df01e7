//! The whole gateway on a cluster: `postern gateway --source kube`.

use std::path::Path;
use std::time::{Duration, Instant};

use postern_tests::backend::Backend;
use postern_tests::client::{Call, TlsClient};
use postern_tests::cluster::{
    Cluster, Fault, Kind, KnativeService, Options as ClusterOptions, PolicyRule, Rule, Silence, Verb,
};
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

/// A gateway on a cluster with one service, whose certificate nobody has asked for.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) service: KnativeService,
    pub(crate) gateway: Gateway,
    pub(crate) tls: TlsClient,
    /// Its endpoint; gone when dropped.
    pub(crate) backend: Backend,
}

/// The `postern` command that was built with the tests.
pub(crate) fn postern() -> Program {
    Program::new(env!("CARGO_BIN_EXE_postern-under-test"))
}

/// Options of a gateway on this cluster, as this user.
pub(crate) fn on(cluster: &Cluster, user: &str) -> Result<Options> {
    let options = Options::default().on_loopback().argument("--source=kube").argument("--kubeconfig");
    Ok(options.argument(cluster.kubeconfig_of(user)?))
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with("system:admin", |options| options).await
    }

    /// With other options, as this user.
    pub(crate) async fn start_with(user: &str, change: impl FnOnce(Options) -> Options) -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default()).await?;
        Self::on(cluster, user, change).await
    }

    /// On a cluster that has something else already.
    pub(crate) async fn on(cluster: Cluster, user: &str, change: impl FnOnce(Options) -> Options) -> Result<Self> {
        let backend = Backend::http1("cart").await?;
        let service = KnativeService::new("shop", "cart").endpoint(backend.address());
        cluster.apply_many(service.objects(cluster.ca())?)?;
        let options = change(on(&cluster, user)?);
        let gateway = Gateway::start(&postern(), Path::new("/"), &options).await?;
        let tls = TlsClient::new(cluster.ca())?;
        Ok(Self { cluster, service, gateway, tls, backend })
    }

    pub(crate) fn call(&self) -> Call {
        Call::get(&format!("https://{}/", self.service.external_host()))
    }

    pub(crate) async fn serial(&self) -> Result<u64> {
        self.serial_of(&self.service.external_host()).await
    }

    /// The serial number of the certificate for a host.
    pub(crate) async fn serial_of(&self, host: &str) -> Result<u64> {
        Ok(self.tls.handshake(self.gateway.address("external-https")?, Some(host)).await?.serial)
    }

    /// Waits until some line of the log contains all of these texts.
    pub(crate) async fn until_logged(&self, texts: &[&str]) -> Result<()> {
        eventually(&format!("a line of the log with {texts:?}"), async || {
            ensure(self.gateway.log().has_line_with(texts), || self.gateway.log().text())
        })
        .await
    }

    /// Asserts that the service is served.
    pub(crate) async fn assert_served(&self) -> Result<()> {
        assert_eq!(self.call().send(&self.gateway, &self.tls).await?.status, 200);
        Ok(())
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

/// A real API server denies everything for about two seconds after its start.
#[tokio::test]
async fn handshakes_wait_for_an_api_server_that_denies_everything_for_a_moment() -> Result<()> {
    let world = World::start().await?;
    let denied = Fault::Status { code: 403, retry_after_seconds: None };
    let rule = world.cluster.faults().add(Rule::on(Verb::Get, Kind::Secret, denied));
    let serial = tokio::join!(world.serial(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.cluster.faults().remove(rule);
    });
    serial.0.map(drop)?;
    world.assert_served().await
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

const USER: &str = "system:serviceaccount:postern-system:postern";

/// What a Role in a namespace allows.
fn role() -> Vec<PolicyRule> {
    let read = ["list", "watch"];
    vec![
        PolicyRule::new("", "services", &read),
        PolicyRule::new("", "secrets", &["get", "list", "watch"]),
        PolicyRule::new("networking.k8s.io", "ingresses", &read),
        PolicyRule::new("networking.internal.knative.dev", "ingresses", &read),
        PolicyRule::new("discovery.k8s.io", "endpointslices", &read),
    ]
}

#[tokio::test]
async fn roles_in_some_namespaces_are_enough_to_serve_these_and_each_missing_rule_is_said_once() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.add_user(USER);
    for namespace in ["shop", "empty"] {
        cluster.grant(USER, Some(namespace), role());
    }
    let elsewhere = KnativeService::new("news", "paper");
    cluster.apply_many(elsewhere.objects(cluster.ca())?)?;
    let namespaces = |options: Options| options.argument("--namespaces=shop").argument("--namespaces=empty");
    let world = World::on(cluster, USER, namespaces).await?;
    world.assert_served().await?;
    assert!(world.serial_of(&elsewhere.external_host()).await.is_err(), "it is of another namespace");
    let lines = |text: &str| world.gateway.log().lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines("ingressclasses: may not be read: expected a rule with"), 1);
    assert_eq!(lines("configmaps/config-postern: may not be read: expected a rule with"), 1);
    assert_eq!(lines("may not be read"), 4, "and the two maps of Knative");
    Ok(())
}

#[tokio::test]
async fn secrets_are_fetched_as_often_as_may_be_asked_for_and_the_others_wait() -> Result<()> {
    let world = World::start_with("system:admin", |options| options.argument("--kube-api-qps=10")).await?;
    let services: Vec<_> = (0..40).map(|number| KnativeService::new("shop", &format!("stall-{number}"))).collect();
    for service in &services {
        world.cluster.apply_many(service.objects(world.cluster.ca())?)?;
    }
    let Some((last, others)) = services.split_last() else { return Err("no services".into()) };
    eventually("the last one is served", async || world.serial_of(&last.external_host()).await.map(drop)).await?;
    // The first 20 at once, or fewer, and then 10 a second.
    let began = Instant::now();
    for service in others {
        world.serial_of(&service.external_host()).await?;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_500), "39 in {took:?}");
    world.gateway.metrics().await?.require("postern_certstore_reloads_waiting")?;
    Ok(())
}

#[tokio::test]
async fn the_work_queue_and_the_watches_are_measured() -> Result<()> {
    let world = World::start().await?;
    let metrics = world.gateway.metrics().await?;
    for name in ["queue_depth", "queue_age_seconds", "watches_broken", "listed_seconds"] {
        metrics.require(&format!("postern_source_{name}"))?;
    }
    assert!(metrics.sum_where("postern_source_events_total", "Secret") >= 1.0);
    Ok(())
}

#[tokio::test]
async fn endpoints_of_a_cluster_are_not_on_this_host_unless_it_is_said() -> Result<()> {
    let more = |options: Options| options.argument("--loopback-endpoints=auto").argument("--endpoint-wait=100ms");
    let world = World::start_with("system:admin", more).await?;
    assert_eq!(world.call().send(&world.gateway, &world.tls).await?.status, 503);
    assert_eq!(world.backend.requests(), 0);
    let refused = world.gateway.metrics().await?.sum("postern_upstream_refused_addresses_total");
    ensure(refused >= 1.0, || format!("{refused} addresses were refused"))
}
