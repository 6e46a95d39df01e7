//! `Ready` is said once every gateway serves an object.

use std::net::SocketAddr;
use std::time::Duration;

use postern_tests::backend::Backend;
use postern_tests::cluster::Kind;
use postern_tests::gateway::Gateway;
use postern_tests::patience::{eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{NAMESPACE, World, a_while, condition, is_ready};

/// A slice of the gateways' Service: one pod at one address.
fn slice(pod: &str, address: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("postern-internal-{pod}"),
            "labels": {"kubernetes.io/service-name": "postern-internal"},
        },
        "endpoints": [{
            "addresses": [address.ip().to_string()], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": pod},
        }],
        "ports": [{"name": "http2", "port": address.port(), "protocol": "TCP"}],
    })
}

async fn probes(gateway: &Gateway, outcome: &str) -> Result<f64> {
    Ok(gateway.metrics().await?.sum_where("postern_status_probes_total", &format!("outcome=\"{outcome}\"")))
}

#[tokio::test]
async fn another_gateway_is_asked_and_confirms() -> Result<()> {
    let world = World::new().await?;
    let first = world.gateway("one", &[]).await?;
    world.ready("cart").await?;
    let second = world.gateway("two", &[]).await?;
    for (pod, gateway) in [("one", &first), ("two", &second)] {
        world.cluster.apply(slice(pod, gateway.address("internal-http")?))?;
    }
    // Who is a gateway is known for a second, so the first change may still be said without asking.
    eventually("the other one is asked", async || {
        world.change()?;
        world.ready("cart").await?;
        ensure(probes(&first, "confirmed").await? >= 1.0, || "not asked yet".to_owned())
    })
    .await?;
    assert!(probes(&second, "confirmed").await? < 0.5, "who does not write does not ask");
    Ok(())
}

#[tokio::test]
async fn one_that_does_not_serve_it_keeps_it_from_being_ready() -> Result<()> {
    let world = World::new().await?;
    // It answers everything with 200, and knows no hash.
    let other = Backend::http1("other").await?;
    world.cluster.apply(slice("other", other.address()))?;
    let gateway = world.gateway("one", &[]).await?;
    for _ in 0..2 {
        waits(&world).await?;
        assert_eq!(condition(&world.kingress(), "NetworkConfigured")["status"], "True");
        assert!(probes(&gateway, "different").await? >= 1.0);
        world.cluster.delete(Kind::EndpointSlice, NAMESPACE, "postern-internal-other");
        world.ready("cart").await?;
        world.cluster.apply(slice("other", other.address()))?;
    }
    Ok(())
}

/// Makes changes until one is waited for.
async fn waits(world: &World) -> Result<()> {
    let is_waited_for = async || {
        let said = condition(&world.kingress(), "LoadBalancerReady");
        let is_so = said["status"] == "Unknown" && said["reason"] == "Uninitialized" && !is_ready(&world.kingress());
        ensure(is_so, || said.to_string())
    };
    // Who is a gateway is known for a second, so a first change may still be said without asking.
    eventually("a change is waited for", async || {
        world.change()?;
        eventually_within(Duration::from_secs(3), "this one is", is_waited_for).await
    })
    .await
}

#[tokio::test]
async fn gateways_that_come_later_do_not_make_it_unready() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let other = Backend::http1("other").await?;
    world.cluster.apply(slice("other", other.address()))?;
    a_while().await;
    assert!(is_ready(&world.kingress()));
    eventually("nothing waits", async || {
        let depth = gateway.metrics().await?.sum("postern_status_queue_depth");
        ensure(depth < 0.5, || format!("{depth} wait"))
    })
    .await
}
