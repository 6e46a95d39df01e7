//! What those may not do who may write Ingresses and Services, and nothing else.

use postern_tests::client::raw::{Head, exchange};
use postern_tests::client::{Call, get_plain};
use postern_tests::gateway::Options;
use postern_tests::manifests::{KIngress, PathRule, Rule, Split, external_name};
use postern_tests::patience::eventually;
use postern_tests::{Error, Result, ensure};

use crate::world::{NAMESPACE, Scene, World};

/// A service of somebody else, by the name `localhost`, that is the gateway's own admin listener.
async fn disguised(options: Options) -> Result<World> {
    let world = Scene::new()?.open_with(options).await?;
    let hosts = ["localhost"];
    let path = PathRule::prefix("").split(Split::new("evil", 100).port("http"));
    let kingress = KIngress::new(NAMESPACE, "evil").rule(Rule::external(&hosts).path(path));
    let service = external_name(NAMESPACE, "evil", "localhost", world.gateway.address("admin")?.port());
    world.scene.write("evil", &[kingress.object(), service])?;
    eventually("the host is known", async || {
        let status = world.status("http://localhost/livez").await?;
        ensure(status != 404, || "it is not".to_owned())
    })
    .await?;
    Ok(world)
}

/// All that would be worth asking for, also with what makes some proxies drop what they have added.
fn calls() -> Vec<Call> {
    let get = Call::get("http://localhost/api/v1/status");
    let hops = "close, x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-request-id, forwarded, via";
    vec![
        get.clone().header("connection", hops),
        Call::post("http://localhost/api/v1/cache/budget", "1MiB"),
        Call::post("http://localhost/drain", ""),
        get,
    ]
}

#[tokio::test]
async fn the_admin_listener_is_not_reached_through_the_gateway() -> Result<()> {
    let mut world = disguised(Options::default()).await?;
    for call in calls() {
        let reply = world.send(&call).await?;
        // Whoever wants such headers dropped on the way is refused by the gateway already.
        let is_refused = reply.status == 400 || reply.status == 403 && reply.text().contains("through a proxy");
        ensure(is_refused, || format!("{call:?}: {} {}", reply.status, reply.text()))?;
    }
    assert!(world.gateway.has_ended()?.is_none());
    let admin = world.gateway.address("admin")?;
    assert_eq!(get_plain(admin, "/api/v1/status").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn services_do_not_lead_to_this_host_where_tenants_write_them() -> Result<()> {
    // As it is on a cluster unless it is said otherwise.
    let options = Options::default().argument("--loopback-endpoints=off").argument("--endpoint-wait=100ms");
    let world = disguised(options).await?;
    for call in calls() {
        assert_eq!(world.send(&call).await?.status, 503, "{call:?}");
    }
    world.until_logged(&["localhost", "leads to this host", "loopback-endpoints"]).await?;
    let refused = world.gateway.metrics().await?.sum("postern_upstream_refused_addresses_total");
    ensure(refused >= 1.0, || format!("{refused} addresses were refused"))
}

#[tokio::test]
async fn a_page_of_another_port_may_not_drain_the_gateway() -> Result<()> {
    let world = Scene::new()?.open().await?;
    let admin = world.gateway.address("admin")?;
    let drain = |origin: &str| {
        let request = format!("POST /drain HTTP/1.1\r\nHost: {admin}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n");
        async move {
            match exchange(admin, request).await? {
                Head::Status(status, _) => Ok::<_, Error>(status),
                Head::Closed => Err("no answer".into()),
            }
        }
    };
    let (of_other_port, of_other_name) = ("http://127.0.0.1:1", format!("http://localhost:{}", admin.port()));
    for origin in [of_other_port, "null", &format!("https://{admin}"), &of_other_name] {
        assert_eq!(drain(origin).await?, 403, "{origin}");
    }
    assert_eq!(drain(&format!("http://{admin}")).await?, 202);
    Ok(())
}
