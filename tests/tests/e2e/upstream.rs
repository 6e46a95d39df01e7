//! Endpoints that refuse, come back, are missing, or break off.

use std::time::Duration;

use postern_tests::address;
use postern_tests::backend::{Backend, Speaks};
use postern_tests::client::raw::RawConnection;
use postern_tests::client::{Call, Reply};
use postern_tests::gateway::Options;
use postern_tests::manifests::{PathRule, Rule, Service, Split, external_name};
use postern_tests::patience::{PATIENCE, eventually};
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{NAMESPACE, Scene, World};

/// How long a backend of these cases is away: well within what a request may wait for an endpoint.
const OUTAGE: Duration = Duration::from_millis(300);

/// A gateway for `shop.test`, whose Service is given.
async fn world_of(service: Service) -> Result<World> {
    world_with(&service.objects()).await
}

/// A gateway for `shop.test`, with these objects.
async fn world_with(objects: &[Value]) -> Result<World> {
    let scene = Scene::new()?;
    scene.write("service", objects)?;
    let path = PathRule::prefix("").split(Split::new("shop", 100).port("http"));
    scene.kingress("shop", |kingress| kingress.rule(Rule::external(&["shop.test"]).path(path)))?;
    // How long is waited for an endpoint that never comes is how long the cases below take.
    scene.open_with(Options::default().argument("--endpoint-wait").argument("2s")).await
}

fn service() -> Service {
    Service::new(NAMESPACE, "shop")
}

#[tokio::test]
async fn a_refused_connection_goes_to_another_endpoint() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(address::unused()).endpoint(backend.address())).await?;
    for number in 0..30 {
        let call = if number % 2 == 0 { Call::get("http://shop.test/") } else { Call::post("http://shop.test/", "x") };
        assert_eq!(world.send(&call).await?.status, 200, "request {number}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restarting_backend_is_waited_for() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    assert_eq!(world.status("http://shop.test/").await?, 200);
    let address = backend.stop().await;
    let restart = async {
        tokio::time::sleep(OUTAGE).await;
        Backend::start_at(address, "again", Speaks::Http1).await
    };
    let post = Call::post("http://shop.test/", "once");
    let get = Call::get("http://shop.test/");
    let (again, posted, got) = tokio::join!(restart, world.send(&post), world.send(&get));
    let again = again?;
    assert_eq!((posted?.seen()?.backend.as_str(), got?.status), ("again", 200));
    assert_eq!(again.requests(), 2);
    Ok(())
}

/// Waits for the line of the access log about a path, and returns what it says of retries.
async fn retries(world: &World, path: &str) -> Result<u64> {
    eventually(&format!("{path} is in the access log"), async || {
        let entries = world.gateway.log().entries();
        let entry = entries.iter().find(|entry| entry.field("path") == Some(path)).ok_or("no such line")?;
        Ok(entry.number("retries").ok_or_else(|| format!("no retries in {entry:?}"))?)
    })
    .await
}

#[tokio::test]
async fn the_access_log_counts_tries_and_no_waiting() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().unready_endpoint(backend.address())).await?;
    let appears = async {
        tokio::time::sleep(OUTAGE).await;
        world.scene.write("service", &service().endpoint(backend.address()).objects())
    };
    let (waited, appeared) = tokio::join!(world.status("http://shop.test/waited"), appears);
    appeared?;
    assert_eq!((waited?, retries(&world, "/waited").await?), (200, 0));

    let [dead, other] = [address::unused(), address::unused()];
    let ports = service().endpoint(dead).endpoint(other).endpoint(backend.address());
    world.scene.write("service", &ports.objects())?;
    let mut most = 0;
    for number in 0..30 {
        let path = format!("/refused/{number}");
        assert_eq!(world.status(&format!("http://shop.test{path}")).await?, 200);
        most = most.max(retries(&world, &path).await?);
    }
    assert!((1..=2).contains(&most), "{most} retries where two of three endpoints refuse");
    let entries = world.gateway.log().entries();
    let lines = entries.iter().filter(|entry| entry.field("path").is_some_and(|path| path.starts_with("/refused/")));
    let messages: Vec<_> = lines.map(|entry| entry.field("message")).collect();
    assert_eq!(messages, [Some("request"); 30], "each has one line");
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_503() -> Result<()> {
    let world = world_of(service().endpoint(address::unused())).await?;
    assert_eq!(world.status("http://shop.test/").await?, 503);
    Ok(())
}

#[tokio::test]
async fn no_endpoint_is_503_until_there_is_one() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().unready_endpoint(backend.address())).await?;
    assert_eq!(world.status("http://shop.test/").await?, 503);
    world.scene.write("service", &service().endpoint(backend.address()).objects())?;
    world.until_status("http://shop.test/", 200).await
}

#[tokio::test]
async fn endpoints_that_are_not_ready_get_nothing() -> Result<()> {
    let (ready, unready) = (Backend::http1("ready").await?, Backend::http1("unready").await?);
    let world = world_of(service().unready_endpoint(unready.address()).endpoint(ready.address())).await?;
    for _ in 0..10 {
        assert_eq!(world.backend("http://shop.test/").await?, "ready");
    }
    assert_eq!(unready.connections(), 0);
    Ok(())
}

#[tokio::test]
async fn endpoints_share_the_requests() -> Result<()> {
    let (one, two) = (Backend::http1("one").await?, Backend::http1("two").await?);
    let world = world_of(service().endpoint(one.address()).endpoint(two.address())).await?;
    for _ in 0..40 {
        assert_eq!(world.status("http://shop.test/").await?, 200);
    }
    assert!(one.requests() >= 10 && two.requests() >= 10, "{} and {}", one.requests(), two.requests());
    Ok(())
}

#[tokio::test]
async fn traffic_follows_the_endpoints() -> Result<()> {
    let (one, two) = (Backend::http1("one").await?, Backend::http1("two").await?);
    let world = world_of(service().endpoint(one.address())).await?;
    assert_eq!(world.backend("http://shop.test/").await?, "one");
    world.scene.write("service", &service().endpoint(two.address()).objects())?;
    world.until_backend("http://shop.test/", "two").await
}

#[tokio::test]
async fn a_missing_service_spoils_nothing_else_and_heals() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("one").await?;
    scene.service("there", &[&backend])?;
    scene.kingress("shop", |kingress| {
        kingress
            .rule(Rule::external(&["there.test"]).path(PathRule::to("there")))
            .rule(Rule::external(&["missing.test"]).path(PathRule::to("missing")))
    })?;
    let world = scene.open().await?;
    assert_eq!(world.status("http://there.test/").await?, 200);
    let status = world.status("http://missing.test/").await?;
    assert!(matches!(status, 404 | 503), "answered {status}");
    world.until_logged(&["shop/missing"]).await?;
    world.scene.service("missing", &[&backend])?;
    world.until_status("http://missing.test/", 200).await
}

#[tokio::test]
async fn a_service_that_vanishes_is_503_and_heals() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    world.scene.write("service", &service().objects())?;
    world.until_status("http://shop.test/", 503).await?;
    world.scene.write("service", &service().endpoint(backend.address()).objects())?;
    world.until_status("http://shop.test/", 200).await
}

#[tokio::test]
async fn a_slow_answer_is_passed_on_as_it_comes() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    // 10 of 1,000 announced bytes; no more come before the backend is permitted to go on.
    connection.send("GET /-/abort HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
    assert_eq!(connection.status().await?, 200);
    assert_eq!(connection.body(10).await?, b"0123456789");
    backend.permit(1);
    connection.rest(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_on_as_complete() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    for call in [Call::get("http://shop.test/-/abort"), Call::get("http://shop.test/-/abort").http2()] {
        let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
        let pending = tokio::spawn(connection.start(&call).await?);
        eventually("the answer has begun", async || ensure(backend.waiting() == 1, || "not yet".to_owned())).await?;
        backend.permit(1);
        // Either the break comes through, or the answer as a whole is replaced.
        if let Ok(response) = pending.await? {
            let (status, read) = (response.status(), Reply::read(response).await);
            assert!(status == 502 || read.is_err(), "{status} with a complete body");
        }
    }
    Ok(())
}

#[tokio::test]
async fn statuses_of_the_backend_are_its_own() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    for status in [204, 304, 404, 418, 500, 502, 503] {
        assert_eq!(world.status(&format!("http://shop.test/-/status/{status}")).await?, status);
    }
    assert_eq!(backend.requests(), 7);
    Ok(())
}

#[tokio::test]
async fn large_bodies_pass_both_ways() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    let body = vec![b'b'; 3 << 20];
    for call in
        [Call::post("http://shop.test/-/echo", body.clone()), Call::post("http://shop.test/-/echo", body).http2()]
    {
        let reply = world.send(&call).await?;
        assert_eq!((reply.status, reply.body.len()), (200, 3 << 20));
    }
    Ok(())
}

#[tokio::test]
async fn an_expectation_is_answered_before_the_body_is_sent() -> Result<()> {
    let backend = Backend::http1("one").await?;
    let world = world_of(service().endpoint(backend.address())).await?;
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    connection.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await?;
    assert_eq!(connection.status().await?, 100);
    connection.send("hello").await?;
    assert_eq!(connection.status().await?, 200);
    Ok(())
}

#[tokio::test]
async fn an_external_name_is_resolved_and_followed_when_it_changes() -> Result<()> {
    let one = Backend::start_at(address::of_localhost()?, "one", Speaks::Http1).await?;
    let two = Backend::start_at(address::of_localhost()?, "two", Speaks::Http1).await?;
    let external = |backend: &Backend| external_name(NAMESPACE, "shop", "localhost", backend.address().port());
    let world = world_with(&[external(&one)]).await?;
    assert_eq!(world.backend("http://shop.test/").await?, "one");
    world.scene.write("service", &[external(&two)])?;
    world.until_backend("http://shop.test/", "two").await
}

#[tokio::test]
async fn an_external_name_that_nobody_knows_is_503() -> Result<()> {
    let world = world_with(&[external_name(NAMESPACE, "shop", "nowhere.invalid", 80)]).await?;
    assert_eq!(world.status("http://shop.test/").await?, 503);
    world.until_logged(&["nowhere.invalid"]).await
}

/// An EndpointSlice of the Service `ending`, with one endpoint in this state.
fn endpoint(name: &str, backend: &Backend, conditions: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": NAMESPACE, "name": name, "labels": {"kubernetes.io/service-name": "ending"}},
        "ports": [{"name": "http", "port": backend.address().port()}],
        "endpoints": [{"addresses": [backend.address().ip()], "conditions": conditions}],
    })
}

#[tokio::test]
async fn an_endpoint_that_ends_and_still_serves_answers_until_a_ready_one_is_there() -> Result<()> {
    let scene = Scene::new()?;
    let (old, new) = (Backend::http1("old").await?, Backend::http1("new").await?);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": NAMESPACE, "name": "ending"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let rule = Rule::external(&["shop.test"]).path(PathRule::to("ending"));
    scene.kingress("shop", |kingress| kingress.rule(rule))?;
    scene.write("service", &[service])?;
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    scene.write("old", &[endpoint("ending-old", &old, &ending)])?;
    let world = scene.open().await?;
    assert_eq!(world.backend("http://shop.test/").await?, "old");
    world.scene.write("new", &[endpoint("ending-new", &new, &json!({"ready": true}))])?;
    world.until_backend("http://shop.test/", "new").await?;
    for _ in 0..10 {
        assert_eq!(world.backend("http://shop.test/").await?, "new");
    }
    world.scene.manifests.remove("new.yaml")?;
    world.until_backend("http://shop.test/", "old").await
}
