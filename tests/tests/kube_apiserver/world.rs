//! A server with what `deploy/` installs, a Knative service, and a gateway with the rights that `deploy/` gives it.

use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use postern_tests::address;
use postern_tests::backend::{Backend, Speaks};
use postern_tests::ca::TestCa;
use postern_tests::client::{Call, TlsClient};
use postern_tests::cluster::KnativeService;
use postern_tests::deployed;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::patience::{PATIENCE, eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::server::{ADMINISTRATOR, GATEWAY, Server, Settings, own_address};

/// Where `deploy/` puts the gateway.
pub(crate) const NAMESPACE: &str = "postern-system";

/// Who the gateway is, by the `ServiceAccount` in `deploy/`.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:postern-system:postern";

/// See the module.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) ca: TestCa,
    pub(crate) tls: TlsClient,
    pub(crate) service: KnativeService,
    _backend: Backend,
}

impl World {
    /// Starts a server with one service, `shop/cart`; `None` where that can't be done, which is said.
    pub(crate) async fn new() -> Result<Option<Self>> {
        Self::with(Settings::default()).await
    }

    /// [`Self::new`], with a server that is started so.
    pub(crate) async fn with(settings: Settings) -> Result<Option<Self>> {
        let Some(own) = own_address() else {
            eprintln!("SKIPPED: this machine has no address but loopback's, where Kubernetes takes no endpoint");
            return Ok(None);
        };
        let Some(server) = Server::start(SERVICE_ACCOUNT, settings).await? else { return Ok(None) };
        let backend = Backend::start_at(address::at(own)?, "cart", Speaks::Http1).await?;
        let ca = TestCa::new()?;
        let tls = TlsClient::new(&ca)?;
        let service = KnativeService::new("shop", "cart").endpoint(backend.address());
        let world = Self { client: server.client(ADMINISTRATOR)?, server, ca, tls, service, _backend: backend };
        world.apply(&kingress_definition()).await?;
        eventually("KIngresses are served", async || {
            let all = world.api("networking.internal.knative.dev/v1alpha1", "Ingress", Some("shop"));
            Ok(all.list(&kube::api::ListParams::default()).await.map(drop)?)
        })
        .await?;
        for object in deployed::base()? {
            world.apply(&object).await?;
        }
        world.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await?;
        for object in world.service.objects(&world.ca)? {
            world.apply(&object).await?;
        }
        Ok(Some(world))
    }

    /// Starts a gateway as its `ServiceAccount`.
    pub(crate) async fn gateway(&self) -> Result<Gateway> {
        let mut options = Options::default().argument("--source=kube").argument("--kubeconfig");
        options = options.argument(self.server.kubeconfig(GATEWAY)?).argument("--pod-name=one");
        options = options.argument(format!("--own-namespace={NAMESPACE}"));
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        Gateway::start(&program, Path::new("/"), &options).await
    }

    /// Creates an object or makes it what is said, by server-side apply. The server checks every field.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().ok_or("an object without a name")?;
        let all = self.api(&text("apiVersion"), &text("kind"), metadata["namespace"].as_str());
        let parameters = PatchParams::apply("postern-tests").force().validation_strict();
        let applied = all.patch(name, &parameters, &Patch::Apply(object)).await;
        applied.map(drop).map_err(|error| format!("{} {name}: {error}", text("kind")).into())
    }

    /// Sets the status of an object, as the controller that it belongs to would.
    pub(crate) async fn apply_status(
        &self,
        version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<()> {
        let status = json!({"status": status});
        let all = self.api(version, kind, Some(namespace));
        Ok(all.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)?)
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, version: &str, kind: &str, name: &str) -> Result<()> {
        Ok(self.api(version, kind, Some("shop")).delete(name, &DeleteParams::default()).await.map(drop)?)
    }

    /// An object as the server has it.
    pub(crate) async fn get(&self, version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.api(version, kind, Some(namespace)).get(name).await?)?)
    }

    /// The KIngress of the service.
    pub(crate) async fn kingress(&self) -> Result<Value> {
        self.get("networking.internal.knative.dev/v1alpha1", "Ingress", "shop", "cart").await
    }

    /// How many requests of this verb there were about KIngresses, or their status, by the server's own count.
    pub(crate) async fn requests(&self, verb: &str, subresource: &str) -> Result<u64> {
        let metrics = self.client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
        let wanted = [
            "apiserver_request_total{".to_owned(),
            r#"group="networking.internal.knative.dev""#.to_owned(),
            r#"resource="ingresses""#.to_owned(),
            format!("verb={verb:?}"),
            format!("subresource={subresource:?}"),
        ];
        let lines = metrics.lines().filter(|line| wanted.iter().all(|text| line.contains(text.as_str())));
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        Ok(counts.sum())
    }

    /// Waits until Knative would call the service's KIngress ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        eventually("the KIngress is ready", async || {
            let object = self.kingress().await?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_true = |name: &str| conditions.iter().any(|each| each["type"] == name && each["status"] == "True");
            let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            ensure(is_current && is_true("Ready"), || object["status"].to_string())
        })
        .await
    }

    /// Waits until the service answers over TLS with a certificate of this serial number.
    pub(crate) async fn serves(&self, gateway: &Gateway, serial: u64) -> Result<()> {
        self.serves_within(PATIENCE, gateway, serial).await
    }

    /// [`Self::serves`], with another patience.
    pub(crate) async fn serves_within(&self, patience: Duration, gateway: &Gateway, serial: u64) -> Result<()> {
        let host = self.service.external_host();
        eventually_within(patience, "the service answers", async || {
            let peer = self.tls.handshake(gateway.address("external-https")?, Some(&host)).await?;
            ensure(peer.serial == serial, || format!("the certificate is {}", peer.serial))?;
            let reply = Call::get(&format!("https://{host}/")).send(gateway, &self.tls).await?;
            ensure(reply.status == 200, || format!("{}: {}", reply.status, reply.text()))
        })
        .await
        .map_err(|error| gateway.explain(error))
    }

    /// Gives the service another certificate; returns its serial number.
    pub(crate) async fn renew(&self) -> Result<u64> {
        let issued = self.ca.issue(&[&self.service.external_host()])?;
        self.apply(&self.service.secret_with(&issued)).await?;
        Ok(issued.serial)
    }

    /// The names of all objects of a kind in a namespace.
    pub(crate) async fn names(&self, version: &str, kind: &str, namespace: &str) -> Result<Vec<String>> {
        let all = self.api(version, kind, Some(namespace)).list(&kube::api::ListParams::default()).await?;
        Ok(all.items.iter().map(ResourceExt::name_any).collect())
    }

    fn api(&self, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// Knative's definition of its Ingress, with any fields.
fn kingress_definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ingresses.networking.internal.knative.dev"},
        "spec": {
            "group": "networking.internal.knative.dev", "scope": "Namespaced",
            "names": {"kind": "Ingress", "plural": "ingresses", "singular": "ingress", "shortNames": ["kingress", "king"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
            }],
        },
    })
}
