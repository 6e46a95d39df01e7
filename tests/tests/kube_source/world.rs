//! A cluster, a source that follows it, and what the source has said.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::{Client, Config};
use postern_tests::cluster::{Cluster, Options, Silence};
use postern_tests::patience::PATIENCE;
use serde_json::{Value, json};
use tokio::time::timeout;
use xds::discovery::Source;
use xds::object::Object;
use xds::source::api::{self, ApiSource};
use xds::{Faults, ObjectEvent, ObjectKey};

/// See the module.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) source: ApiSource,
    pub(crate) faults: Faults,
    /// What exists, and for Services the external name.
    pub(crate) objects: BTreeMap<String, String>,
    /// How many events there were, and how many of them deletions.
    pub(crate) events: usize,
    pub(crate) deletions: usize,
    pub(crate) synced: bool,
}

impl World {
    /// Starts a source at a cluster that holds some Services.
    pub(crate) async fn start(services: usize) -> Self {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        fill(&cluster, services);
        Self::follow(cluster, options())
    }

    /// Starts a source at a cluster.
    pub(crate) fn follow(cluster: Cluster, options: api::Options) -> Self {
        let client = client(&cluster, &cluster.token());
        Self::follow_as(cluster, client, options)
    }

    /// [`Self::follow`] with another client.
    pub(crate) fn follow_as(cluster: Cluster, client: Client, options: api::Options) -> Self {
        let faults = Faults::default();
        let source = ApiSource::start(client, options, faults.clone());
        Self { cluster, source, faults, objects: BTreeMap::new(), events: 0, deletions: 0, synced: false }
    }

    /// Takes what the source says until this is so.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let taking = async {
            while !holds(self) {
                self.take().await;
            }
        };
        let late = timeout(PATIENCE, taking).await.is_err();
        assert!(!late, "{what}: not within {PATIENCE:?}; known: {:?}; {:?}", self.objects, self.faults.all());
    }

    pub(crate) async fn synced(&mut self) {
        self.until("a complete snapshot", |world| world.synced).await;
    }

    /// Takes what the source says until a Service is in this state.
    pub(crate) async fn sees(&mut self, service: &str, state: &str) {
        self.until(&format!("{service} is {state}"), |world| world.service(service) == Some(state)).await;
    }

    pub(crate) fn service(&self, name: &str) -> Option<&str> {
        self.objects.get(&format!("Service shop/{name}")).map(String::as_str)
    }

    /// How many Services are known.
    pub(crate) fn services(&self) -> usize {
        self.objects.keys().filter(|key| key.starts_with("Service ")).count()
    }

    /// Ends all connections.
    pub(crate) async fn cut(&self) {
        self.cluster.silence_for(Silence::Refusing, Duration::from_millis(30)).await;
    }

    async fn take(&mut self) {
        for event in self.source.next().await {
            self.events += 1;
            match event {
                ObjectEvent::Applied(object) => {
                    let (key, state) = short(object);
                    self.objects.insert(key, state);
                }
                ObjectEvent::Deleted(key) => {
                    self.deletions += 1;
                    self.objects.remove(&key.to_string());
                }
                ObjectEvent::Synced => self.synced = true,
            }
        }
    }
}

/// As the gateway has it, with little patience.
pub(crate) fn options() -> api::Options {
    let mut options = api::Options::default();
    options.first_retry = Duration::from_millis(20);
    options.longest_retry = Duration::from_millis(200);
    options.slow_retry = Duration::from_millis(300);
    options.request_timeout = Duration::from_secs(2);
    options
}

/// A client over plain HTTP with this token, which does not try again by itself.
pub(crate) fn client(cluster: &Cluster, token: &str) -> Client {
    let mut config = Config::new(cluster.url().parse().unwrap());
    config.default_retry = false;
    config.auth_info.token = Some(token.to_owned().into());
    Client::try_from(config).unwrap()
}

/// Makes Services `s0`, `s1`, … that are at `first`.
pub(crate) fn fill(cluster: &Cluster, services: usize) {
    cluster.apply_many((0..services).map(|number| service(&format!("s{number}"), "first"))).unwrap();
}

/// A Service whose state can be told from outside.
pub(crate) fn service(name: &str, state: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
        "spec": {"type": "ExternalName", "externalName": state},
    })
}

fn short(object: Object) -> (String, String) {
    use xds::ObjectKind::{ConfigMap, EndpointSlice, Ingress, IngressClass, KIngress, Secret, Service};
    let (kind, metadata, state) = match object {
        Object::Secret(secret) => {
            let key = ObjectKey { kind: Secret, object: secret.object };
            return (key.to_string(), secret.version.to_string());
        }
        Object::ConfigMap(object) => (ConfigMap, object.metadata, String::new()),
        Object::EndpointSlice(object) => (EndpointSlice, object.metadata, String::new()),
        Object::Ingress(object) => (Ingress, object.metadata, String::new()),
        Object::IngressClass(object) => (IngressClass, object.metadata, String::new()),
        Object::KIngress(object) => (KIngress, object.metadata, String::new()),
        Object::Service(object) => {
            (Service, object.metadata, object.spec.and_then(|spec| spec.external_name).unwrap_or_default())
        }
    };
    let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
    (ObjectKey { kind, object: xds::ObjectRef::new(namespace, name) }.to_string(), state)
}
