//! A simulated cluster in a process of its own, so that its CPU time and memory are not the gateway's.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use postern_tests::client::TlsClient;
use postern_tests::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::CLUSTER;

/// A hundred thousand services are made within this; each has a certificate to be signed.
const FILL: Duration = Duration::from_secs(600);

/// A command is carried out within this.
const COMMAND: Duration = Duration::from_secs(60);

/// The process; it ends when this is dropped.
pub(crate) struct Cluster {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    directory: TempDir,
    /// A client that trusts the certificates of its services.
    pub(crate) client: TlsClient,
}

impl Cluster {
    /// Starts a cluster with this many Knative services. Their endpoints are made up, unless all lead to one backend.
    pub(crate) async fn start(services: usize, backend: Option<SocketAddr>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("postern-bench-").tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(CLUSTER).arg("--services").arg(services.to_string());
        command.arg("--kubeconfig").arg(directory.path().join("kubeconfig"));
        if let Some(backend) = backend {
            command.arg("--endpoints").arg(backend.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().ok_or("stdin is not piped")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("stdout is not piped")?).lines();
        let ready = line(&mut output, FILL).await?;
        let authority = ready["ca"].as_str().ok_or_else(|| format!("not ready: {ready}"))?;
        let client = TlsClient::trusting(authority)?.x25519();
        Ok(Self { _child: child, input, output, directory, client })
    }

    /// The arguments with which a gateway follows this cluster.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let kubeconfig = self.directory.path().join("kubeconfig").to_string_lossy().into_owned();
        // The objects of this cluster have no status yet, as they would have at any start but the first: writing all of
        // it is not part of starting.
        ["--source=kube".to_owned(), "--status=off".to_owned(), "--kubeconfig".to_owned(), kubeconfig]
    }

    /// A command of the simulated cluster, and its answer.
    pub(crate) async fn tell(&mut self, command: &Value) -> Result<Value> {
        self.input.write_all(format!("{command}\n").as_bytes()).await?;
        let answer = line(&mut self.output, COMMAND).await?;
        ensure(answer["ok"] == true, || format!("{command}: {answer}"))?;
        Ok(answer)
    }
}

async fn line(output: &mut Lines<BufReader<ChildStdout>>, patience: Duration) -> Result<Value> {
    let line = timeout(patience, output.next_line()).await.map_err(|_| "the cluster does not answer")??;
    Ok(serde_json::from_str(&line.ok_or("the cluster has ended")?)?)
}
