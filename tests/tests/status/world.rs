//! A cluster with a service, and gateways that write status.

use std::path::Path;
use std::time::Duration;

use postern_tests::backend::Backend;
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options as ClusterOptions, Verb};
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

/// Where the gateways are.
pub(crate) const NAMESPACE: &str = "postern-system";

/// Long enough for anything that was going to be written.
pub(crate) const A_WHILE: Duration = Duration::from_millis(1500);

/// A cluster with one service, `shop/cart`, which is whole.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) service: KnativeService,
    /// Its endpoint; gone when dropped.
    _backend: Backend,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default()).await?;
        let backend = Backend::http1("cart").await?;
        let service = KnativeService::new("shop", "cart").endpoint(backend.address());
        cluster.apply_many(service.objects(cluster.ca())?)?;
        cluster.apply(public_service(&json!([{"ip": "192.0.2.1"}])))?;
        Ok(Self { cluster, service, _backend: backend })
    }

    /// A world with one gateway.
    pub(crate) async fn with_gateway() -> Result<(Self, Gateway)> {
        let world = Self::new().await?;
        let gateway = world.gateway("one", &[]).await?;
        Ok((world, gateway))
    }

    /// Starts a gateway with a Lease that passes quickly.
    pub(crate) async fn gateway(&self, pod: &str, arguments: &[&str]) -> Result<Gateway> {
        let mut options = Options::default().on_loopback().argument("--source=kube").argument("--kubeconfig");
        options = options.argument(self.cluster.kubeconfig()?).argument(format!("--pod-name={pod}"));
        options = options.argument(format!("--own-namespace={NAMESPACE}"));
        for argument in ["--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=200ms"] {
            options = options.argument(argument);
        }
        for argument in arguments {
            options = options.argument(*argument);
        }
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        Gateway::start(&program, Path::new("/"), &options).await
    }

    /// The service's KIngress.
    pub(crate) fn kingress(&self) -> Value {
        self.cluster.get(Kind::KIngress, "shop", "cart").unwrap_or_default()
    }

    /// Waits until a KIngress is ready for its present generation.
    pub(crate) async fn ready(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} is ready"), async || {
            let object = self.cluster.get(Kind::KIngress, "shop", name).unwrap_or_default();
            ensure(is_ready(&object), || format!("{}", object["status"]))
        })
        .await
    }

    /// Waits until a condition of a KIngress is like this, for its present generation.
    pub(crate) async fn says(&self, name: &str, condition: &str, status: &str, reason: &str) -> Result<()> {
        eventually(&format!("{name} says {condition}={status}"), async || {
            let object = self.cluster.get(Kind::KIngress, "shop", name).unwrap_or_default();
            let found = self::condition(&object, condition);
            let reason_found = found["reason"].as_str().unwrap_or_default();
            let is_so = is_current(&object) && found["status"] == status && reason_found == reason;
            ensure(is_so, || format!("{}", object["status"]))
        })
        .await
    }

    /// How many patches of KIngresses there were.
    pub(crate) fn patches(&self) -> u64 {
        self.cluster.requests().count(Verb::Patch, Kind::KIngress)
    }

    /// Who holds the Lease.
    pub(crate) fn holder(&self) -> String {
        let lease = self.cluster.get(Kind::Lease, NAMESPACE, "postern").unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes another generation of the service's KIngress.
    pub(crate) fn change(&self) -> Result<()> {
        let mut object = self.kingress();
        let headers = &mut object["spec"]["rules"][0]["http"]["paths"][0]["appendHeaders"];
        let count = headers["X-Changed"].as_str().map_or(1, |text| text.len() + 1);
        *headers = json!({"X-Changed": "x".repeat(count)});
        self.cluster.apply(object)?;
        Ok(())
    }
}

/// The Service for traffic from outside, whose load balancer is at these places.
pub(crate) fn public_service(ingress: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": NAMESPACE, "name": "postern"},
        "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}},
    })
}

pub(crate) fn condition(object: &Value, name: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == name).unwrap_or_default()
}

/// As Knative's Route asks.
pub(crate) fn is_ready(object: &Value) -> bool {
    is_current(object) && condition(object, "Ready")["status"] == "True"
}

fn is_current(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"] && object["status"].is_object()
}

/// Waits a while, so that what must not happen could have happened.
pub(crate) async fn a_while() {
    tokio::time::sleep(A_WHILE).await;
}
