//! Settings that a `ConfigMap` changes while the gateway runs.

use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::client::raw::RawConnection;
use postern_tests::gateway::{Gateway, Options};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{Scene, World};

fn config_map(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data})
}

impl World {
    fn configure(&self, data: &Value) -> Result<()> {
        self.scene.write("config-postern", &[config_map("postern-system", "config-postern", data)])
    }

    fn configure_kourier(&self, data: &Value) -> Result<()> {
        self.scene.write("config-kourier", &[config_map("knative-serving", "config-kourier", data)])
    }

    /// Waits until a setting has this value, from there.
    async fn until_set(&self, name: &str, value: &str, origin: &str) -> Result<Value> {
        eventually(&format!("{name} is {value}"), async || {
            let setting = self.gateway.setting(name).await?;
            let is = setting["values"] == json!([value]) && setting["origin"] == origin;
            ensure(is, || setting.to_string())?;
            Ok(setting)
        })
        .await
    }
}

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    Ok((scene.open_with(Options::default().without_cert_cache()).await?, backend))
}

#[tokio::test]
async fn a_config_map_sets_the_cache_budget_and_gives_it_back() -> Result<()> {
    let (world, _backend) = world().await?;
    let budget =
        async || Ok::<_, postern_tests::Error>(world.gateway.metrics().await?.sum("postern_certstore_budget_bytes"));
    assert_eq!(budget().await?.to_string(), (32 << 20).to_string());
    world.configure(&json!({"cert-cache": "1MiB"}))?;
    let setting = world.until_set("cert-cache", "1MiB", "config map").await?;
    assert_eq!(setting["configMap"], "postern-system/config-postern cert-cache");
    assert_eq!(setting["changes"], "live");
    assert_eq!(budget().await?.to_string(), (1 << 20).to_string());
    world.scene.manifests.remove("config-postern.yaml")?;
    world.until_set("cert-cache", "auto", "default").await?;
    assert_eq!(budget().await?.to_string(), (32 << 20).to_string());
    Ok(())
}

#[tokio::test]
async fn a_change_of_settings_touches_no_route() -> Result<()> {
    let (world, _backend) = world().await?;
    let version = async || {
        Ok::<_, postern_tests::Error>(world.gateway.admin("/api/v1/status").await?["configurationVersion"].clone())
    };
    let before = version().await?;
    world.configure(&json!({"endpoint-wait": "7s"}))?;
    world.until_set("endpoint-wait", "7s", "config map").await?;
    assert_eq!(version().await?, before);
    Ok(())
}

#[tokio::test]
async fn the_log_level_and_the_access_log_follow() -> Result<()> {
    let (world, _backend) = world().await?;
    let lines = |what: &str| world.gateway.log().lines().iter().filter(|line| line.contains(what)).count();
    assert_eq!(world.status("http://shop.test/one").await?, 200);
    world.until_logged(&["/one"]).await?;
    world.configure(&json!({"log-level": "debug", "access-log": "off"}))?;
    world.until_set("access-log", "off", "config map").await?;
    assert_eq!(world.status("http://shop.test/two").await?, 200);
    // A refused handshake is said at debug level only.
    assert!(world.handshake("nobody.test").await.is_err());
    world.until_logged(&["refused a TLS handshake", "nobody.test"]).await?;
    assert_eq!(lines("/two"), 0);
    Ok(())
}

#[tokio::test]
async fn new_connections_are_treated_as_it_says_and_open_ones_go_on() -> Result<()> {
    let (world, _backend) = world().await?;
    let call = Call::get("http://shop.test/");
    let mut open = call.connect(&world.gateway, &world.scene.tls).await?;
    assert_eq!(open.send(&call).await?.status(), 200);
    world.configure(&json!({"proxy-protocol": "on"}))?;
    world.until_set("proxy-protocol", "on", "config map").await?;
    assert!(world.send(&call).await.is_err(), "a PROXY header is required now");
    assert_eq!(open.send(&call).await?.status(), 200);
    let request =
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let mut proxied = RawConnection::open(world.gateway.address("external-http")?).await?;
    proxied.send(request).await?;
    assert_eq!(proxied.status().await?, 200);
    Ok(())
}

#[tokio::test]
async fn kouriers_map_is_understood_and_what_has_no_effect_yet_is_named_in_one_line() -> Result<()> {
    let (world, _backend) = world().await?;
    world.configure_kourier(&json!({
        "enable-service-access-logging": "false", "stream-idle-timeout": "1m", "cluster-cert-secret": "inside",
        "extauthz-timeout": "5", "service-access-log-template": "x", "tracing-endpoint": "", "_example": "…",
    }))?;
    world.until_set("access-log", "off", "config map").await?;
    world.until_set("stream-idle-timeout", "60000ms", "config map").await?;
    let idle = "extauthz-timeout, service-access-log-template";
    world.until_logged(&["knative-serving/config-kourier", idle, "no effect yet"]).await?;
    world
        .until_logged(&["ConfigMap knative-serving/config-kourier", "data.cluster-cert-secret", "not implemented"])
        .await
}

#[tokio::test]
async fn a_wrong_value_names_map_key_and_value_and_the_last_good_one_stays() -> Result<()> {
    let (world, _backend) = world().await?;
    world.configure(&json!({"cert-cache": "1MiB"}))?;
    world.until_set("cert-cache", "1MiB", "config map").await?;
    world.configure(&json!({"cert-cache": "much", "cert-cash": "1MiB", "threads": "4"}))?;
    let map = "ConfigMap postern-system/config-postern";
    world.until_logged(&[map, "data.cert-cache", "much", "is not a size; write it like 128KiB", "1MiB"]).await?;
    world
        .until_logged(&[map, "data.cert-cash", "is not a setting: expected one of accept-unsupported, access-log"])
        .await?;
    world.until_logged(&[map, "data.threads", "cannot be set here", "expected as a flag"]).await?;
    world.until_set("cert-cache", "1MiB", "config map").await?;
    let said = world.gateway.log().lines().iter().filter(|line| line.contains("data.cert-cache")).count();
    assert_eq!(said, 1);
    Ok(())
}

#[tokio::test]
async fn a_flag_is_stronger_and_that_is_said() -> Result<()> {
    let scene = Scene::new()?;
    let map = config_map("edge", "config-postern", &json!({"cert-cache": "1MiB", "min-tls-version": "1.3"}));
    scene.write("config", &[map])?;
    let world = scene.open_with(Options::default().cert_cache("2MiB").argument("--own-namespace=edge")).await?;
    let setting = world.gateway.setting("cert-cache").await?;
    assert_eq!((&setting["values"], &setting["origin"]), (&json!(["2MiB"]), &json!("flag")));
    world.until_logged(&["edge/config-postern", "cert-cache", "flag", "a config map's setting is overridden"]).await?;

    let version = world.until_set("min-tls-version", "1.3", "config map").await?;
    assert_eq!(version["atNextStart"], Value::Null, "it was there at the start");
    world.scene.write("config", &[config_map("edge", "config-postern", &json!({"min-tls-version": "1.2"}))])?;
    world.until_logged(&["min-tls-version", "1.3", "1.2", "takes effect at the next start"]).await?;
    let version = world.until_set("min-tls-version", "1.3", "config map").await?;
    assert_eq!(version["atNextStart"], json!(["1.2"]));
    Ok(())
}

impl World {
    /// Waits until the probe of readiness has this status; returns what it says.
    async fn until_probed(&self, status: u16) -> Result<String> {
        eventually(&format!("/readyz answers {status}"), async || {
            let reply = self.send(&Call::get("http://metrics/readyz").on("metrics")).await?;
            ensure(reply.status == status, || format!("{} {}", reply.status, reply.text()))?;
            Ok(reply.text())
        })
        .await
    }
}

#[tokio::test]
async fn nothing_is_served_without_the_authorization_that_kouriers_map_asks_for() -> Result<()> {
    let (world, _backend) = world().await?;
    for _ in 0..2 {
        world.until_status("http://shop.test/", 200).await?;
        world.configure_kourier(&json!({"extauthz-host": "authz:50051", "extauthz-protocol": "grpc"}))?;
        let said = world.until_probed(503).await?;
        assert!(said.contains("config-kourier extauthz-host"), "{said}");
        world.until_status("http://shop.test/", 404).await?;
        assert!(world.handshake("shop.test").await.is_err());
        let faults = world.gateway.admin("/api/v1/faults").await?;
        assert_eq!((&faults[0]["severity"], &faults[0]["field"]), (&json!("error"), &json!("data.extauthz-host")));

        world.configure(&json!({"accept-unsupported": "extauthz-host"}))?;
        world.until_probed(200).await?;
        world.until_status("http://shop.test/", 200).await?;
        assert_eq!(world.gateway.admin("/api/v1/faults").await?[0]["severity"], "warning");

        world.scene.manifests.remove("config-kourier.yaml")?;
        world.scene.manifests.remove("config-postern.yaml")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_starts_with_such_a_key_serves_nothing_either() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let options = Options::default().variable("KOURIER_EXTAUTHZ_HOST", "authz:50051");
    let mut gateway = Gateway::spawn(&crate::world::postern(), scene.manifests.path(), &options)?;
    gateway.listening().await?;
    let world = World { scene, gateway };
    world.until_logged(&["not ready", "environment KOURIER_EXTAUTHZ_HOST"]).await?;
    let said = world.until_probed(503).await?;
    assert!(said.contains("KOURIER_EXTAUTHZ_HOST"), "{said}");
    assert_eq!(world.status("http://shop.test/").await?, 404);
    assert_eq!(backend.requests(), 0);
    Ok(())
}
