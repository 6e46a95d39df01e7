//! The cases.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_tests::client::Call;
use postern_tests::deployed;
use postern_tests::manifests::{Ingress, KIngress, PathRule, Rule};
use postern_tests::patience::{PATIENCE, eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::json;
use tokio::time::timeout;
use xds::discovery::Source;
use xds::source::api::{self, ApiSource};
use xds::{Faults, ObjectEvent};

use crate::server::{GATEWAY, Settings};
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
    assert!(kingress["metadata"]["finalizers"].is_null(), "{kingress}");
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

/// A kill -9 of etcd and the API server, and a start on an older copy: what was deleted since is there again, and what was
/// made since is gone.
#[tokio::test]
async fn an_etcd_that_is_restored_from_an_older_copy_is_noticed() -> Result<()> {
    let Some(mut world) = World::new().await? else { return Ok(()) };
    let site = |name: &str| {
        let host = format!("{name}.example.com");
        let rule = [("Prefix", "/", "cart-00001")];
        let mut object = Ingress::new("shop", name).rule(Some(&host), &rule).object();
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("creationTimestamp"));
        object
    };
    world.apply(&site("before")).await?;
    let copy = world.server.back_up().await?;
    let gateway = world.gateway().await?;
    let answers = async |name: &str, status: u16| {
        eventually_within(LONGEST_RETRY + PATIENCE, &format!("{name} is answered {status}"), async || {
            let reply = Call::get(&format!("http://{name}.example.com/")).send(&gateway, &world.tls).await?;
            ensure(reply.status == status, || format!("{} {}", reply.status, reply.text()))
        })
        .await
        .map_err(|error| gateway.explain(error))
    };
    answers("before", 200).await?;
    world.apply(&site("since")).await?;
    answers("since", 200).await?;
    world.delete("networking.k8s.io/v1", "Ingress", "before").await?;
    answers("before", 404).await?;
    for _ in 0..30 {
        // So that the version that was known is not reached soon.
        world.renew().await?;
    }
    world.server.restore(&copy).await?;
    world.apply(&site("after")).await?;
    let answers = async |name: &str, status: u16| {
        eventually_within(LONGEST_RETRY + PATIENCE, &format!("{name} is answered {status}"), async || {
            let reply = Call::get(&format!("http://{name}.example.com/")).send(&gateway, &world.tls).await?;
            ensure(reply.status == status, || format!("{} {}", reply.status, reply.text()))
        })
        .await
        .map_err(|error| gateway.explain(error))
    };
    for (name, status) in [("before", 200), ("since", 404), ("after", 200)] {
        answers(name, status).await?;
    }
    Ok(())
}

/// For about two seconds after its start a real API server denies everything; nothing is given up for it.
#[tokio::test]
async fn denials_after_a_restart_are_not_believed() -> Result<()> {
    let Some(mut world) = World::new().await? else { return Ok(()) };
    world.renew().await?;
    let gateway = world.gateway().await?;
    world.server.kill().await?;
    let (host, tls) = (world.service.external_host(), world.tls.clone());
    let address = gateway.address("external-https")?;
    let asking = tokio::spawn(async move {
        loop {
            // What comes of it before the server answers does not matter.
            let _ = tls.handshake(address, Some(&host)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let resumed = world.server.resume().await;
    let serial = world.renew().await;
    asking.abort();
    resumed?;
    world.serves_within(LONGEST_RETRY + PATIENCE, &gateway, serial?).await?;
    let log = gateway.log().text();
    assert!(!log.contains("not permitted") && !log.contains("may not be"), "{log}");
    Ok(())
}

/// What becomes ready costs one request each, by the server's own count; and none, when nothing changes.
#[tokio::test]
async fn each_kingress_that_becomes_ready_costs_one_request() -> Result<()> {
    const SERVICES: u64 = 100;
    let Some(world) = World::new().await? else { return Ok(()) };
    let gateway = world.gateway().await?;
    world.ready().await.map_err(|error| gateway.explain(error))?;
    let status = world.requests("PATCH", "status").await?;
    let whole = world.requests("PATCH", "").await?;
    for number in 0..SERVICES {
        let rule = Rule::external(&[&format!("more{number}.example.com")]).path(PathRule::to("cart-00001"));
        let mut kingress = KIngress::new("shop", &format!("more{number}")).rule(rule).object();
        kingress["metadata"].as_object_mut().map(|metadata| metadata.remove("creationTimestamp"));
        world.apply(&kingress).await?;
    }
    let written = async || Ok::<_, postern_tests::Error>(world.requests("PATCH", "status").await? - status);
    eventually_within(LONGEST_RETRY + PATIENCE, "all are ready", async || {
        let count = written().await?;
        ensure(count >= SERVICES, || format!("{count} are written"))
    })
    .await
    .map_err(|error| gateway.explain(error))?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(written().await?, SERVICES);
    assert_eq!(world.requests("PATCH", "").await?, whole, "nothing but the status is patched");
    drop(gateway);
    let _again = world.gateway().await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(written().await?, SERVICES, "a gateway that starts again writes nothing");
    Ok(())
}

/// The second set of manifests leaves the rights of the first as they are.
#[tokio::test]
async fn the_kourier_overlay_beside_the_base_takes_no_rights_from_it() -> Result<()> {
    let Some(world) = World::new().await? else { return Ok(()) };
    let Some(overlay) = deployed::overlay("kourier").await? else { return Ok(()) };
    world.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kourier-system"}})).await?;
    for object in overlay {
        world.apply(&object).await?;
    }
    let gateway = world.gateway().await?;
    world.ready().await.map_err(|error| gateway.explain(error))?;
    assert!(!gateway.log().text().to_lowercase().contains("forbidden"));
    assert_eq!(gateway.admin("/api/v1/faults").await?, json!([]));
    Ok(())
}

/// Streamed lists and pages tell of the same objects, whether the server streams lists (by default in 1.32 and from 1.34 on)
/// or not (1.33).
#[tokio::test]
async fn lists_are_the_same_streamed_and_in_pages() -> Result<()> {
    for gate in ["WatchList=true", "WatchList=false"] {
        lists_are_the_same(Settings { feature_gates: vec![gate] }).await.map_err(|error| format!("{gate}: {error}"))?;
    }
    Ok(())
}

async fn lists_are_the_same(settings: Settings) -> Result<()> {
    let Some(world) = World::with(settings).await? else { return Ok(()) };
    for number in 0..25 {
        let name = format!("s{number}");
        let spec = json!({"type": "ExternalName", "externalName": "elsewhere.example.com"});
        let metadata = json!({"namespace": "shop", "name": name});
        world.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await?;
    }
    let streamed = objects(&world, true).await?;
    let paged = objects(&world, false).await?;
    ensure(streamed == paged, || format!("{streamed:?} and {paged:?}"))?;
    // The 25, the service's own, those of `deploy/`, and the server's.
    ensure(streamed.get("Service") == Some(&29), || format!("{streamed:?}"))?;
    let gateway = world.gateway().await?;
    world.ready().await.map_err(|error| gateway.explain(error))
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
