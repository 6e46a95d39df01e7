//! What a case plays in: a site behind a gateway, whose settings change.

use postern_tests::backend::{Backend, Speaks};
use postern_tests::ca::TestCa;
use postern_tests::client::{Call, Reply, TlsClient};
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::manifests::{KIngress, Manifests, PathRule, Rule, Service, secret};
use postern_tests::patience::{PATIENCE, eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

/// The host of the site.
pub(crate) const HOST: &str = "shop.test";

/// A gateway with one site.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) backend: Backend,
    pub(crate) tls: TlsClient,
    manifests: Manifests,
}

impl World {
    /// A gateway with these options and settings of `config-postern`.
    pub(crate) async fn open(options: Options, settings: &Value) -> Result<Self> {
        Self::with(Backend::http1("shop").await?, options, settings).await
    }

    /// The same, with another backend.
    pub(crate) async fn with(backend: Backend, options: Options, settings: &Value) -> Result<Self> {
        let (ca, manifests) = (TestCa::new()?, Manifests::new()?);
        let kingress = KIngress::new(NAMESPACE, "shop")
            .tls(&[HOST], "shop")
            .rule(Rule::external(&[HOST]).path(PathRule::to("shop")));
        let port = if backend.speaks() == Speaks::H2c { "h2c" } else { "http" };
        let service = Service::new(NAMESPACE, "shop").port_name(port).endpoint(backend.address());
        let mut objects = service.objects();
        objects.extend([kingress.object(), secret(NAMESPACE, "shop", &ca.issue(&[HOST])?)]);
        manifests.write("shop.yaml", &objects)?;
        write_settings(&manifests, settings)?;
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        let gateway = Gateway::start(&program, manifests.path(), &options).await?;
        Ok(Self { gateway, backend, tls: TlsClient::new(&ca)?, manifests })
    }

    /// Changes the settings.
    pub(crate) fn configure(&self, settings: &Value) -> Result<()> {
        write_settings(&self.manifests, settings)
    }

    /// Makes a request on a connection of its own.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        call.send(&self.gateway, &self.tls).await
    }

    /// The admin listener's word on overload.
    pub(crate) async fn overload(&self) -> Result<Value> {
        Ok(self.gateway.admin("/api/v1/status").await?["overload"].clone())
    }

    /// Waits for a stage.
    pub(crate) async fn until_stage(&self, stage: &str) -> Result<()> {
        eventually(&format!("stage {stage}"), async || {
            let overload = self.overload().await?;
            ensure(overload["stage"] == stage, || overload.to_string())
        })
        .await
    }

    /// An error unless the site is served over TLS, by either version of HTTP, to those who ask now.
    pub(crate) async fn serves_others(&self) -> Result<()> {
        for call in [Call::get("https://shop.test/"), Call::get("https://shop.test/").http2()] {
            let reply = self.send(&call).await?;
            ensure(reply.status == 200, || format!("answered {}: {}", reply.status, reply.text()))?;
        }
        Ok(())
    }

    /// Waits until the gateway has no more connections of clients than these.
    pub(crate) async fn until_connections(&self, count: usize) -> Result<()> {
        eventually_within(PATIENCE * 2, &format!("{count} connections are left"), async || {
            let open = self.gateway.metrics().await?.sum("postern_listener_connections");
            ensure(open <= count as f64, || format!("{open} are open"))
        })
        .await
    }
}

/// Thresholds of which these stages lie below what any process uses of a gigabyte, and the others above it.
pub(crate) fn stage(stage: &str) -> Value {
    let [shrink, close, refuse] = match stage {
        "calm" => ["85%", "92%", "96%"],
        "shrink" => ["1%", "92%", "96%"],
        "close" => ["1%", "2%", "96%"],
        _ => ["1%", "2%", "3%"],
    };
    json!({"overload-shrink": shrink, "overload-close": close, "overload-refuse": refuse})
}

fn write_settings(manifests: &Manifests, settings: &Value) -> Result<()> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "postern-system", "name": "config-postern"},
        "data": settings,
    });
    manifests.write("config-postern.yaml", &[map])
}
