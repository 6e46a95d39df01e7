//! What a case plays in: a cluster with stages, and the gateway that follows it.

use std::sync::Arc;

use postern_tests::Result;
use postern_tests::client::{Call, Peer, Reply, TlsClient};
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options as ClusterOptions, Stages};
use postern_tests::ensure;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::patience::eventually;
use serde_json::Value;

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "shop";

/// What the stages' jitter and the cases' own choices are made of.
pub(crate) const SEED: u64 = 20_261_121;

/// How much faster than ours the cluster's time passes: a container that takes 2 to 5 s to restart takes 100 to 250 ms.
const SPEED: f64 = 20.0;

/// A cluster and its gateway.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) tls: TlsClient,
}

/// A cluster in which things happen by themselves; with these stages in the place of built-in ones.
pub(crate) async fn lively_cluster(changed: &str) -> Result<Cluster> {
    let stages = Stages::built_in()?.and(Stages::parse(changed)?);
    Cluster::start(ClusterOptions { stages: Some(stages), speed: SPEED, seed: SEED, ..ClusterOptions::default() }).await
}

/// A stage of pods that never comes.
pub(crate) fn never(name: &str) -> String {
    format!("{{name: {name}, kind: pods, weight: 0, next: {{delete: true}}}}")
}

impl World {
    /// A gateway on a cluster.
    pub(crate) async fn of(cluster: Cluster, options: &Options) -> Result<Self> {
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        let gateway = Arc::new(Gateway::start_on(&program, &cluster, options).await?);
        let tls = TlsClient::new(cluster.ca())?;
        Ok(Self { cluster, gateway, tls })
    }

    /// Makes a request on a connection of its own.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        call.send(&self.gateway, &self.tls).await
    }

    /// Waits until a request is answered by this backend.
    pub(crate) async fn until_answered_by(&self, call: &Call, backend: &str) -> Result<()> {
        eventually(&format!("{backend} answers"), async || {
            let reply = self.send(call).await?;
            let from = reply.header("x-backend");
            ensure(reply.status == 200 && from == Some(backend), || format!("{} from {from:?}", reply.status))
        })
        .await
    }

    /// A handshake on the external listener.
    pub(crate) async fn handshake(&self, name: &str) -> Result<Peer> {
        self.tls.handshake(self.gateway.address("external-https")?, Some(name)).await
    }

    /// The sum of the answers that were made by `gateway` or `upstream`, of a class such as `5xx`.
    pub(crate) async fn responses(&self, origin: &str, class: &str) -> Result<f64> {
        let text = self.gateway.metrics().await?;
        let labels =
            [format!("origin=\"{origin}\",class=\"{class}\""), format!("class=\"{class}\",origin=\"{origin}\"")];
        Ok(labels.iter().map(|labels| text.sum_where("postern_responses_total", labels)).sum())
    }

    /// The addresses in the EndpointSlice of a revision, and which of them are ready.
    pub(crate) fn endpoints(&self, service: &KnativeService) -> Vec<(String, bool)> {
        let slice = self.cluster.get(Kind::EndpointSlice, NAMESPACE, &service.revision());
        let endpoints = slice.and_then(|slice| slice["endpoints"].as_array().cloned()).unwrap_or_default();
        let one = |endpoint: &Value| {
            let address = endpoint["addresses"][0].as_str().unwrap_or_default().to_owned();
            (address, endpoint["conditions"]["ready"] == true)
        };
        endpoints.iter().map(one).collect()
    }

    /// Waits until so many endpoints of a revision are ready, and there are no others.
    pub(crate) async fn until_ready(&self, service: &KnativeService, count: usize) -> Result<()> {
        eventually(&format!("{count} endpoints are ready"), async || {
            let endpoints = self.endpoints(service);
            let ready = endpoints.iter().filter(|(_, ready)| *ready).count();
            ensure(ready == count && endpoints.len() == count, || format!("{endpoints:?}"))
        })
        .await
    }
}

/// The name of a pod of a revision.
pub(crate) fn pod(service: &KnativeService, number: usize) -> String {
    format!("{}-pod-{number}", service.revision())
}
