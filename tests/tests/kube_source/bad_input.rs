//! Bad input from a cluster: each gets one clear message that names the object, and nothing that worked stops working.

use std::path::Path;

use postern_tests::client::Call;
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options, PolicyRule, Silence};
use postern_tests::gateway::Gateway;
use postern_tests::manifests::base64;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::gateway::{World, on, postern};

impl World {
    /// Adds a service whose objects have been changed.
    async fn add(&self, name: &str, change: impl Fn(&mut Value)) -> Result<KnativeService> {
        let service = KnativeService::new("shop", name).endpoint(self.backend.address());
        let mut objects = service.objects(self.cluster.ca())?;
        objects.iter_mut().for_each(change);
        self.cluster.apply_many(objects)?;
        self.until_status(&service.external_host(), 200).await?;
        Ok(service)
    }

    /// Waits until a host answers so over HTTP.
    async fn until_status(&self, host: &str, status: u16) -> Result<()> {
        eventually(&format!("{host} answers {status}"), async || {
            let now = Call::get(&format!("http://{host}/")).send(&self.gateway, &self.tls).await?.status;
            ensure(now == status, || format!("it answers {now}"))
        })
        .await
    }

    /// Asserts that there is no certificate for a service, and why, that a good Secret heals it, and that the other
    /// service is served.
    async fn assert_no_certificate(&self, service: &KnativeService, says: &[&str]) -> Result<()> {
        assert!(self.serial_of(&service.external_host()).await.is_err());
        self.until_logged(says).await?;
        self.assert_served().await?;
        self.cluster.apply_many(service.objects(self.cluster.ca())?)?;
        eventually("a good Secret heals it", async || self.serial_of(&service.external_host()).await).await?;
        Ok(())
    }
}

fn is(object: &Value, kind: &str) -> bool {
    object["kind"] == kind
}

#[tokio::test]
async fn a_secret_of_one_mebibyte_is_named_with_its_size_and_the_limit() -> Result<()> {
    let world = World::start().await?;
    let huge = base64(&b"# nothing to see\n".repeat((1 << 20) / 17));
    let service = world
        .add("huge", |object| {
            if is(object, "Secret") {
                object["data"]["tls.crt"] = huge.as_str().into();
            }
        })
        .await?;
    world.assert_no_certificate(&service, &["shop/route-huge", "tls.crt and tls.key have", "at most 262144"]).await
}

#[tokio::test]
async fn a_secret_without_a_key_is_named_with_what_is_missing() -> Result<()> {
    let world = World::start().await?;
    let service = world
        .add("keyless", |object| {
            if let Some(data) = object["data"].as_object_mut() {
                data.remove("tls.key");
            }
        })
        .await?;
    world
        .assert_no_certificate(&service, &["shop/route-keyless", "no tls.key", "expected the private key in PEM"])
        .await
}

#[tokio::test]
async fn a_secret_of_a_namespace_that_is_not_open_is_not_used() -> Result<()> {
    let world = World::start().await?;
    let service = KnativeService::new("shop", "thief").endpoint(world.backend.address());
    let mut objects = service.objects(world.cluster.ca())?;
    for object in &mut objects {
        if is(object, "Secret") {
            object["metadata"]["namespace"] = "bank".into();
        } else if is(object, "Ingress") {
            object["spec"]["tls"][0]["secretNamespace"] = "bank".into();
        }
    }
    world.cluster.apply_many(objects)?;
    world
        .until_logged(&["KIngress shop/thief", "are not open to", "use a Secret of the KIngress' own namespace"])
        .await?;
    assert!(world.serial_of(&service.external_host()).await.is_err());
    world.assert_served().await
}

fn ingress(hosts: usize) -> Value {
    let backend = json!({"service": {"name": "cart-00001", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let rules: Vec<_> = (0..hosts).map(|n| json!({"host": format!("h{n}.test"), "http": {"paths": [path]}})).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "shop", "name": "many"},
        "spec": {"ingressClassName": "postern", "rules": rules},
    })
}

#[tokio::test]
async fn ten_thousand_hosts_in_an_ingress_are_served_and_one_more_is_refused_by_name() -> Result<()> {
    let world = World::start().await?;
    world.cluster.apply(ingress(10_000))?;
    world.until_status("h9999.test", 200).await?;
    world.cluster.apply(ingress(10_001))?;
    world.until_logged(&["Ingress shop/many", "10001 hosts in the object are more than the 10000"]).await?;
    world.until_status("h9999.test", 200).await?;
    world.until_status("h10000.test", 404).await?;
    world.assert_served().await
}

#[tokio::test]
async fn a_hundred_thousand_endpoints_of_a_service_are_used_in_part_and_that_is_said() -> Result<()> {
    let world = World::start().await?;
    let service = KnativeService::new("shop", "crowd");
    world.cluster.apply_many(service.objects(world.cluster.ca())?)?;
    let slice = |number: usize| {
        let address = |n: usize| format!("10.{}.{}.{}", number % 250, n / 250, n % 250 + 1);
        let endpoints: Vec<_> =
            (0..1000).map(|n| json!({"addresses": [address(n)], "conditions": {"ready": true}})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": "shop", "name": format!("crowd-{number}"),
                "labels": {"kubernetes.io/service-name": service.revision()},
            },
            "endpoints": endpoints, "ports": [{"name": "http", "port": 8012, "protocol": "TCP"}],
        })
    };
    world.cluster.apply_many((0..100).map(slice))?;
    world.until_logged(&["Service shop/crowd-00001", "endpoints", "10000"]).await?;
    world.assert_served().await
}

#[tokio::test]
async fn a_kubeconfig_that_is_missing_is_named() -> Result<()> {
    let arguments = ["gateway", "--source=kube", "--kubeconfig=/nowhere/kubeconfig", "--listen=admin=127.0.0.1:0"];
    let off =
        ["external-http", "external-https", "internal-http", "internal-https", "probe-http", "probe-https", "metrics"];
    let off = off.map(|name| format!("--listen={name}=off"));
    let output = postern().run(arguments.into_iter().map(str::to_owned).chain(off)).await?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("kubeconfig /nowhere/kubeconfig: cannot be read: No such file"), "{text}");
    Ok(())
}

/// A gateway that does not get ready.
async fn unready(cluster: &Cluster, user: &str) -> Result<Gateway> {
    let mut gateway = Gateway::spawn(&postern(), Path::new("/"), &on(cluster, user)?)?;
    gateway.listening().await?;
    Ok(gateway)
}

async fn until_said(gateway: &Gateway, texts: &[&str]) -> Result<()> {
    eventually(&format!("a line with {texts:?}"), async || {
        ensure(gateway.log().has_line_with(texts), || gateway.log().text())
    })
    .await
}

#[tokio::test]
async fn a_token_that_has_expired_is_said_to_be_refused_and_a_new_one_heals_it() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let gateway = unready(&cluster, "late").await?;
    until_said(&gateway, &["does not accept the credentials (401)", "expected a token or a client certificate"])
        .await?;
    assert!(gateway.log().find("ready").is_none());
    cluster.add_user("late");
    cluster.grant("late", None, vec![PolicyRule::everything()]);
    eventually("it is ready", async || gateway.log().find("ready").map(drop).ok_or_else(|| "it is not".into())).await
}

#[tokio::test]
async fn an_api_server_that_cannot_be_reached_is_said_once_and_waited_for() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    cluster.silence(Silence::Refusing);
    let gateway = unready(&cluster, "system:admin").await?;
    until_said(&gateway, &["the API server does not answer as it should", "cannot be reached"]).await?;
    cluster.silence(Silence::Answering);
    eventually("it is ready", async || gateway.log().find("ready").map(drop).ok_or_else(|| "it is not".into())).await?;
    let said = gateway.log().lines().iter().filter(|line| line.contains("does not answer as it should")).count();
    assert_eq!(said, 1, "{}", gateway.log().text());
    assert_eq!(cluster.count(Kind::KIngress), 0);
    Ok(())
}
