//! The cluster's process, from outside.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::TlsClient;
use crate::conversation::Conversation;
use crate::gateway::{Program, Usage};
use crate::{Result, ensure};

/// A hundred thousand services are made within this; each has a certificate to be signed.
const FILL: Duration = Duration::from_secs(600);

/// A command is carried out within this.
const COMMAND: Duration = Duration::from_secs(60);

/// A simulated cluster in a process of its own, so that its CPU time and memory are not the gateway's; it ends when this
/// is dropped.
#[derive(Debug)]
pub struct ClusterProcess {
    process: Conversation,
    directory: TempDir,
    authority: String,
}

impl ClusterProcess {
    /// Starts a cluster with this many Knative services, which lead to the endpoints in turn. Without endpoints each
    /// service gets a made-up one.
    pub async fn start(program: &Program, services: usize, endpoints: &[SocketAddr]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("postern-cluster-").tempdir()?;
        let mut command = program.command();
        command.arg("--services").arg(services.to_string());
        command.arg("--kubeconfig").arg(directory.path().join("kubeconfig"));
        for endpoint in endpoints {
            command.arg("--endpoints").arg(endpoint.to_string());
        }
        let mut process = Conversation::start("cluster", command)?;
        let ready = process.hear(FILL).await?;
        let authority = ready["ca"].as_str().ok_or_else(|| format!("not ready: {ready}"))?.to_owned();
        Ok(Self { process, directory, authority })
    }

    /// The file with which clients find it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Memory and CPU time it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.pid().ok_or("the cluster has ended")?)
    }

    /// The authority of its services' certificates, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// A client that trusts the certificates of its services.
    pub fn client(&self) -> Result<TlsClient> {
        TlsClient::trusting(&self.authority)
    }

    /// A command, and its answer.
    pub async fn tell(&mut self, command: &Value) -> Result<Value> {
        let answer = self.process.ask(command, COMMAND).await?;
        ensure(answer["ok"] == true, || format!("{command}: {answer}"))?;
        Ok(answer)
    }
}
