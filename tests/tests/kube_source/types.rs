//! Secrets of any type: those that are referred to are served, the others cost next to nothing.

use postern_tests::backend::Backend;
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options as ClusterOptions};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::gateway::World;

/// Releases of Helm in a cluster that has many.
const RELEASES: usize = 20_000;

/// Bytes that they may add to the gateway's heap: 17 each in a table, and what the allocator keeps of the list's pages.
const ALLOWED: u64 = 6 << 20;

#[tokio::test]
async fn a_secret_of_any_type_is_served_renewed_and_removed_as_in_a_directory() -> Result<()> {
    let world = World::start().await?;
    for (name, secret_type) in [("till", "Opaque"), ("desk", "example.com/certificate")] {
        let backend = Backend::http1(name).await?;
        let service = KnativeService::new("shop", name).endpoint(backend.address());
        let (first, second) = (
            world.cluster.ca().issue(&[&service.external_host()])?,
            world.cluster.ca().issue(&[&service.external_host()])?,
        );
        let with_type = |mut secret: Value| {
            secret["type"] = secret_type.into();
            secret
        };
        let mut objects = service.objects_with(&first);
        objects[0] = with_type(service.secret_with(&first));
        world.cluster.apply_many(objects)?;
        for (issued, what) in [(&first, "served"), (&second, "renewed")] {
            world.cluster.apply(with_type(service.secret_with(issued)))?;
            eventually(&format!("the certificate of type {secret_type} is {what}"), async || {
                let serial = world.serial_of(&service.external_host()).await?;
                ensure(serial == issued.serial, || format!("{serial} is served"))
            })
            .await?;
        }
        assert!(world.cluster.delete(Kind::Secret, "shop", &service.secret_name()));
        eventually("the certificate is gone", async || {
            let served = world.serial_of(&service.external_host()).await;
            ensure(served.is_err(), || format!("{served:?} is served"))
        })
        .await?;
    }
    Ok(())
}

fn release(number: usize) -> Value {
    let name = format!("app-{number}");
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "namespace": format!("team-{}", number % 200), "name": format!("sh.helm.release.v1.{name}.v1"),
            "labels": {"name": name, "owner": "helm", "status": "deployed", "version": "1"},
        },
        "data": {"release": "SDRzSUFBQUFBQUFDLyt5OQ=="},
    })
}

/// The heap of a gateway on a cluster with so many releases, once it is ready and after all were listed again.
async fn heap(releases: usize) -> Result<u64> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.apply_many((0..releases).map(release))?;
    let world = World::on(cluster, "system:admin", |options| options).await?;
    world.assert_served().await?;
    let known = world.gateway.metrics().await?.sum("postern_source_objects_known");
    assert!(known >= releases as f64, "{known} objects are known");
    Ok(world.gateway.usage()?.anonymous)
}

#[tokio::test]
async fn secrets_that_nobody_refers_to_cost_next_to_nothing() -> Result<()> {
    let (without, with) = (heap(0).await?, heap(RELEASES).await?);
    let more = with.saturating_sub(without);
    println!("{RELEASES} releases of Helm: {more} bytes of heap, {} each", more / RELEASES as u64);
    assert!(more < ALLOWED, "{more} bytes");
    Ok(())
}
