//! The cases.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_tests::client::Call;
use postern_tests::manifests::Ingress;
use postern_tests::patience::{PATIENCE, eventually};
use postern_tests::{Result, ensure};
use serde_json::json;
use tokio::time::timeout;
use xds::discovery::Source;
use xds::source::api::{self, ApiSource};
use xds::{Faults, ObjectEvent};

use crate::server::GATEWAY;
use crate::world::{NAMESPACE, World};

/// How long the gateway waits at most before it asks a server again that was away.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Everything in `deploy/` is valid to a server that checks each field, and the rights in it are all that a gateway needs.
#[tokio::test]
async fn what_is_deployed_is_valid_and_its_rights_suffice() -> Result<()> {
    let Some(world) = World::new().await? else { return Ok(()) };
    let gateway = world.gateway().await?;
    world.ready().await.map_err(|error| gateway.explain(error))?;
    let kingress = world.kingress().await?;
    assert_eq!(kingress["metadata"]["finalizers"], json!(["ingresses.networking.internal.knative.dev"]));
    let serial = world.renew().await?;
    world.serves(&gateway, serial).await?;
    let lease = world.get("coordination.k8s.io/v1", "Lease", NAMESPACE, "postern").await?;
    assert_eq!(lease["spec"]["holderIdentity"], "one");

    // An Ingress that is served gets its addresses; what it refers to does not exist yet, so it gets an Event as well.
    let balancer = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    world.apply_status("v1", "Service", NAMESPACE, "postern", balancer).await?;
    let mut ingress =
        Ingress::new("shop", "site").rule(Some("site.example.com"), &[("Prefix", "/", "absent")]).object();
    // Applied as whoever writes a manifest would.
    ingress["metadata"].as_object_mut().ok_or("no metadata")?.remove("creationTimestamp");
    world.apply(&ingress).await?;
    eventually("the rejected Ingress has an Event", async || {
        let events = world.names("events.k8s.io/v1", "Event", "shop").await?;
        ensure(events.iter().any(|name| name.starts_with("site.")), || format!("{events:?}"))
    })
    .await
    .map_err(|error| gateway.explain(error))?;
    eventually("the Ingress shows where it is reached", async || {
        let ingress = world.get("networking.k8s.io/v1", "Ingress", "shop", "site").await?;
        let addresses = &ingress["status"]["loadBalancer"]["ingress"];
        ensure(addresses[0]["ip"] == "192.0.2.1", || addresses.to_string())
    })
    .await
    .map_err(|error| gateway.explain(error))?;

    let log = gateway.log().text();
    assert!(!log.to_lowercase().contains("forbidden"), "a right is missing: {log}");
    Ok(())
}

#[tokio::test]
async fn changes_arrive_and_deletions_take_away() -> Result<()> {
    let Some(world) = World::new().await? else { return Ok(()) };
    let gateway = world.gateway().await?;
    let mut serial = world.renew().await?;
    world.serves(&gateway, serial).await?;
    for _ in 0..3 {
        serial = world.renew().await?;
        world.serves(&gateway, serial).await?;
    }
    world.delete("v1", "Secret", &world.service.secret_name()).await?;
    let host = world.service.external_host();
    eventually("the certificate is gone", async || {
        let outcome = world.tls.handshake(gateway.address("external-https")?, Some(&host)).await;
        ensure(outcome.is_err(), || "it is served".to_owned())
    })
    .await
    .map_err(|error| gateway.explain(error))?;
    serial = world.renew().await?;
    world.serves(&gateway, serial).await?;
    // The gateway's finalizer does not keep a KIngress that is to go.
    world.ready().await?;
    world.delete("networking.internal.knative.dev/v1alpha1", "Ingress", "cart").await?;
    eventually("the KIngress is gone", async || ensure(world.kingress().await.is_err(), || "it is there".to_owned()))
        .await
        .map_err(|error| gateway.explain(error))
}

#[tokio::test]
async fn a_killed_server_takes_nothing_away_and_is_followed_again() -> Result<()> {
    let Some(mut world) = World::new().await? else { return Ok(()) };
    let gateway = world.gateway().await?;
    let serial = world.renew().await?;
    world.serves(&gateway, serial).await?;
    world.server.kill().await?;
    for _ in 0..20 {
        world.serves(&gateway, serial).await?;
        let live = Call::get("http://metrics/livez").on("metrics").send(&gateway, &world.tls).await?;
        assert_eq!(live.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.server.resume().await?;
    let serial = world.renew().await?;
    // By now it may wait half a minute before it tries again.
    world.serves_within(LONGEST_RETRY + PATIENCE, &gateway, serial).await
}

/// Streamed lists and pages tell of the same objects.
#[tokio::test]
async fn lists_are_the_same_streamed_and_in_pages() -> Result<()> {
    let Some(world) = World::new().await? else { return Ok(()) };
    for number in 0..25 {
        let name = format!("s{number}");
        let spec = json!({"type": "ExternalName", "externalName": "elsewhere.example.com"});
        let metadata = json!({"namespace": "shop", "name": name});
        world.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await?;
    }
    let streamed = objects(&world, true).await?;
    let paged = objects(&world, false).await?;
    assert_eq!(streamed, paged);
    // The 25, the service's own, those of `deploy/`, and the server's.
    assert_eq!(streamed.get("Service"), Some(&29), "{streamed:?}");
    Ok(())
}

/// How many objects of each kind a source tells of.
async fn objects(world: &World, streamed: bool) -> Result<BTreeMap<String, usize>> {
    let mut options = api::Options::default();
    options.streamed_lists = streamed;
    options.page_size = 7;
    let faults = Faults::default();
    let mut source = ApiSource::start(world.server.client(GATEWAY)?, options, faults.clone());
    let mut objects = BTreeMap::new();
    let reading = async {
        loop {
            for event in source.next().await {
                match event {
                    ObjectEvent::Synced => return Ok(()),
                    ObjectEvent::Applied(object) => *objects.entry(object.kind().to_string()).or_default() += 1,
                    ObjectEvent::Deleted(key) => return Err(format!("{key} is said to be deleted")),
                }
            }
        }
    };
    timeout(PATIENCE, reading).await.map_err(|_| format!("not complete: {:?}", faults.all()))??;
    ensure(faults.all().is_empty(), || format!("{:?}", faults.all()))?;
    Ok(objects)
}
