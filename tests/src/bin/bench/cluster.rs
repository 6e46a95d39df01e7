//! The simulated cluster of a benchmark.

use std::net::SocketAddr;

use postern_tests::Result;
use postern_tests::client::TlsClient;
use postern_tests::cluster::ClusterProcess;
use postern_tests::gateway::{ON_LOOPBACK, Program, Usage};
use serde_json::Value;

use crate::CLUSTER;

/// The process; it ends when this is dropped.
pub(crate) struct Cluster {
    process: ClusterProcess,
    /// A client that trusts the certificates of its services.
    pub(crate) client: TlsClient,
}

impl Cluster {
    /// Starts a cluster with this many Knative services. Their endpoints are made up, unless all lead to one backend.
    pub(crate) async fn start(services: usize, backend: Option<SocketAddr>) -> Result<Self> {
        let process = ClusterProcess::start(&Program::this_executable(CLUSTER)?, services, backend.as_slice()).await?;
        let client = process.client()?.x25519();
        Ok(Self { process, client })
    }

    /// The arguments with which a gateway follows this cluster.
    pub(crate) fn arguments(&self) -> [String; 5] {
        let kubeconfig = self.process.kubeconfig().to_string_lossy().into_owned();
        // The objects of this cluster have no status yet, as they would have at any start but the first: writing all of
        // it is not part of starting.
        let [source, status] = ["--source=kube", "--status=off"].map(str::to_owned);
        [source, status, ON_LOOPBACK.to_owned(), "--kubeconfig".to_owned(), kubeconfig]
    }

    /// Memory and CPU time it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// A command of the simulated cluster, and its answer.
    pub(crate) async fn tell(&mut self, command: &Value) -> Result<Value> {
        self.process.tell(command).await
    }
}
