//! Envoy in the place of the gateway, configured as Kourier's control plane (net-kourier) configures it.
//!
//! Kourier sends everything again at every change: all listeners with all certificates inlined, twice (8443 and the probe's
//! 9443), all routes, all clusters. Here the same resources are files that Envoy watches (xDS over the file system), and at
//! each change all of them are replaced. Changes that come while a push is being made are in the next one, and pushes are at
//! least [`BETWEEN`] apart, as those of a control plane that waits for the acknowledgement; so this is kinder than Kourier.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_tests::cgroup::Cgroup;
use postern_tests::client::{TlsClient, get_plain};
use postern_tests::cluster::{ClusterProcess, numbered_service};
use postern_tests::gateway::Usage;
use postern_tests::{Error, Result, address, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::Instant;

mod resources;

use resources::{Certificate, Ports, Service};

/// The least time between two pushes.
const BETWEEN: Duration = Duration::from_secs(1);

/// Envoy has taken in everything within this.
const START: Duration = Duration::from_secs(300);

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Envoy {
    child: Child,
    pid: Pid,
    ports: Ports,
    log: PathBuf,
}

/// What Envoy is to serve; the script changes it, and it is pushed. Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Mirror(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    services: Mutex<Vec<Service>>,
    changed: Notify,
    directory: TempDir,
    ports: Ports,
}

impl Mirror {
    /// Reads all services of a cluster.
    pub(crate) async fn of(cluster: &mut ClusterProcess, services: usize, backends: &[SocketAddr]) -> Result<Self> {
        let mut all = Vec::new();
        for number in 0..services {
            let certificate = certificate(cluster, number).await?;
            let endpoints = backends.get(number % backends.len().max(1)).copied().into_iter().collect();
            all.push(Service { number, certificate, endpoints });
        }
        let free = || address::of_localhost().map(|address| address.port());
        let ports =
            Ports { https: free()?, probe_https: free()?, http: free()?, internal_http: free()?, admin: free()? };
        let directory = tempfile::Builder::new().prefix("postern-soak-envoy-").tempdir()?;
        let shared = Shared { services: Mutex::new(all), changed: Notify::new(), directory, ports };
        shared.write(0)?;
        Ok(Self(Arc::new(shared)))
    }

    /// Certificates of services were renewed.
    pub(crate) async fn renewed(&self, cluster: &mut ClusterProcess, first: usize, count: usize) -> Result<()> {
        for number in first..first + count {
            let certificate = certificate(cluster, number).await?;
            self.0.change(number, |service| service.certificate = certificate);
        }
        self.0.changed.notify_one();
        Ok(())
    }

    /// Services have other endpoints.
    pub(crate) fn moved(&self, first: usize, count: usize, endpoints: &[SocketAddr]) {
        for number in first..first + count {
            self.0.change(number, |service| service.endpoints = endpoints.to_vec());
        }
        self.0.changed.notify_one();
    }

    /// Pushes everything whenever something has changed, for ever.
    pub(crate) async fn push(self) -> Result<std::convert::Infallible> {
        for version in 1_u64.. {
            self.0.changed.notified().await;
            let shared = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || shared.write(version)).await??;
            tokio::time::sleep(BETWEEN).await;
        }
        Err("out of versions".into())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.directory.path().join(file)
    }
}

impl Shared {
    fn change(&self, number: usize, change: impl FnOnce(&mut Service)) {
        if let Some(service) = self.services.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number) {
            change(service);
        }
    }

    /// Replaces all files; Envoy notices a rename.
    fn write(&self, version: u64) -> Result<()> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let directory = self.directory.path();
        let mut files = vec![("clusters".to_owned(), resources::clusters(&services))];
        // A route configuration is asked for by its name, and then its file must have nothing else.
        files.extend(resources::routes(&services).map(|(name, routes)| (name.to_owned(), vec![routes])));
        files.push(("listeners".to_owned(), resources::listeners(&services, self.ports, directory)));
        for (file, resources) in files {
            let text = json!({"version_info": version.to_string(), "resources": resources}).to_string();
            let temporary = directory.join(format!("{file}.new"));
            std::fs::write(&temporary, text)?;
            std::fs::rename(&temporary, directory.join(format!("{file}.json")))?;
        }
        Ok(())
    }
}

async fn certificate(cluster: &mut ClusterProcess, number: usize) -> Result<Certificate> {
    let (service, namespace) = (numbered_service(number, &[]), resources::namespace(number));
    let get = json!({"command": "get", "kind": "secrets", "namespace": namespace, "name": service.secret_name()});
    let answer = cluster.tell(&get).await?;
    let part = |name: &str| -> Result<String> {
        let text = answer["object"]["data"][name].as_str();
        Ok(text.ok_or_else(|| format!("the Secret of service {number} has no {name}"))?.to_owned())
    };
    Ok(Certificate { chain: part("tls.crt")?, key: part("tls.key")? })
}

impl Envoy {
    /// Whether there is an Envoy to be started.
    pub(crate) async fn try_out(program: &Path) -> Result<()> {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let wanted = |seen: String| format!("{}: {seen}; --envoy wants the executable of Envoy", program.display());
        let status = command.status().await.map_err(|error| wanted(error.to_string()))?;
        ensure(status.success(), || wanted(format!("--version ended with {status}")))
    }

    /// Starts Envoy in a control group, if there is one.
    pub(crate) fn start(program: &Path, mirror: &Mirror, cgroup: Option<&Cgroup>) -> Result<Self> {
        let bootstrap = mirror.path("bootstrap.json");
        std::fs::write(&bootstrap, resources::bootstrap(mirror.0.ports, mirror.0.directory.path()).to_string())?;
        let log = mirror.path("envoy.log");
        let enter = |group: &Path| format!("echo $$ > '{}/cgroup.procs' || exit 1; ", group.display());
        let enter: String = cgroup.into_iter().flat_map(Cgroup::directories).map(enter).collect();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{enter}exec \"$0\" \"$@\"")).arg(program);
        command.args(["--use-dynamic-base-id", "--concurrency", "2", "--log-level", "error", "-c"]).arg(&bootstrap);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?).kill_on_drop(true);
        // What is typed to end the soak is not for it.
        command.process_group(0);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or("the process has no id")?;
        Ok(Self { child, pid, ports: mirror.0.ports, log })
    }

    /// Waits until it serves a service. An error if it ends or does not.
    pub(crate) async fn ready(&mut self, client: &TlsClient, services: usize) -> Result<()> {
        let host = numbered_service(services.saturating_sub(1), &[]).external_host();
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(status) = self.has_ended()? {
                return Err(self.explain(&format!("Envoy ended before it was ready: {status}")));
            }
            if self.is_live().await && client.handshake(self.https(), Some(&host)).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(self.explain(&format!("Envoy does not serve {host} after {START:?}")))
    }

    /// An error of these words, and the end of Envoy's log, which may say why.
    pub(crate) fn explain(&self, words: &str) -> Error {
        const LINES: usize = 20;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(LINES).collect();
        format!("{words}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n")).into()
    }

    async fn is_live(&self) -> bool {
        let admin = SocketAddr::from(([127, 0, 0, 1], self.ports.admin));
        get_plain(admin, "/ready").await.and_then(|reply| ensure(reply.status == 200, || "not yet".to_owned())).is_ok()
    }

    /// Where it terminates TLS.
    pub(crate) fn https(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.https))
    }

    /// How it has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Memory and CPU time it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid)
    }
}

/// What a file of these names says in Envoy's configuration.
fn file(directory: &Path, name: &str) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": directory.join(format!("{name}.json"))}})
}
