//! A `kube-apiserver` on an `etcd`, both on loopback, with users of its own.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kube::{Client, Config};
use postern_tests::address;
use postern_tests::ca::{TestCa, new_key};
use postern_tests::client::tools::installed;
use postern_tests::patience::eventually_within;
use postern_tests::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Both programs write to a disk that others keep busy.
const START: Duration = Duration::from_secs(90);

/// A user who may do everything.
pub(crate) const ADMINISTRATOR: &str = "administrator";

/// The gateway, which may do what its roles say.
pub(crate) const GATEWAY: &str = "gateway";

/// How etcd and the API server are started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// `Name=true` or `Name=false`, for the API server.
    pub(crate) feature_gates: Vec<&'static str>,
}

/// A running API server. Its processes end when this is dropped.
pub(crate) struct Server {
    directory: TempDir,
    settings: Settings,
    etcd: SocketAddr,
    etcd_peer: SocketAddr,
    address: SocketAddr,
    ca: TestCa,
    etcd_process: Option<Child>,
    process: Option<Child>,
}

impl Server {
    /// Starts a server that knows the gateway by this name; `None` where it is not installed.
    pub(crate) async fn start(service_account: &str, settings: Settings) -> Result<Option<Self>> {
        if !(installed("kube-apiserver").await && installed("etcd").await) {
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        let (etcd, etcd_peer, address) = (address::of_localhost()?, address::of_localhost()?, address::of_localhost()?);
        let ca = TestCa::new()?;
        let certificate = ca.issue(&["127.0.0.1", "localhost"])?;
        let file = |name: &str, text: String| -> Result<()> { Ok(fs::write(directory.path().join(name), text)?) };
        file("server.crt", certificate.chain)?;
        file("server.key", certificate.key)?;
        let accounts = new_key()?;
        file("service-accounts.key", accounts.serialize_pem())?;
        file("service-accounts.pub", accounts.public_key_pem())?;
        // A token is also the user's name here; of the groups one is told to be everybody's who is known.
        file("tokens.csv", format!("{ADMINISTRATOR},root,1,system:masters\n{GATEWAY},{service_account},2,\n"))?;
        let (etcd_process, process) = (None, None);
        let mut server = Self { directory, settings, etcd, etcd_peer, address, ca, etcd_process, process };
        server.start_etcd()?;
        server.resume().await?;
        Ok(Some(server))
    }

    fn start_etcd(&mut self) -> Result<()> {
        let (etcd, peer) = (self.etcd, self.etcd_peer);
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.etcd_data()).arg("--log-level=error");
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.arg(format!("{flag}=http://{etcd}"));
        }
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.arg(format!("{flag}=http://{peer}"));
        }
        command.arg(format!("--initial-cluster=default=http://{peer}")).arg("--unsafe-no-fsync");
        self.etcd_process = Some(spawn(&mut command, &self.directory.path().join("etcd.log"))?);
        Ok(())
    }

    fn etcd_data(&self) -> PathBuf {
        self.directory.path().join("etcd")
    }

    /// Copies what etcd holds, while both are killed, and starts them again.
    pub(crate) async fn back_up(&mut self) -> Result<PathBuf> {
        self.crash().await?;
        let copy = self.directory.path().join("backup");
        copy_folder(&self.etcd_data(), &copy)?;
        self.start_etcd()?;
        self.resume().await?;
        Ok(copy)
    }

    /// Kills both, and starts them on a copy of what etcd held.
    pub(crate) async fn restore(&mut self, copy: &Path) -> Result<()> {
        self.crash().await?;
        fs::remove_dir_all(self.etcd_data())?;
        copy_folder(copy, &self.etcd_data())?;
        self.start_etcd()?;
        self.resume().await
    }

    /// Ends both without a word to anybody: `kill -9`.
    async fn crash(&mut self) -> Result<()> {
        self.kill().await?;
        if let Some(mut process) = self.etcd_process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Starts the API server, which keeps its address and what it knows.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = Command::new("kube-apiserver");
        command.args([
            format!("--etcd-servers=http://{}", self.etcd),
            format!("--bind-address={}", self.address.ip()),
            format!("--secure-port={}", self.address.port()),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--cert-dir={}", path("certificates")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", path("service-accounts.key")),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            // It wants the account's token to be signed before a pod runs, and there are no pods.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
        ]);
        if !self.settings.feature_gates.is_empty() {
            command.arg(format!("--feature-gates={}", self.settings.feature_gates.join(",")));
        }
        self.process = Some(spawn(&mut command, &self.directory.path().join("kube-apiserver.log"))?);
        let client = self.client(ADMINISTRATOR)?;
        let ready = eventually_within(START, "the API server is ready", async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let text = client.request_text(request).await?;
            ensure(text == "ok", || text)
        });
        ready.await.map_err(|error| format!("{error}\n{}", self.log_tail()).into())
    }

    /// Ends the API server without a word to anybody.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// A client with a user's rights, which does not try again by itself.
    pub(crate) fn client(&self, user: &str) -> Result<Client> {
        let mut config = Config::new(format!("https://{}", self.address).parse()?);
        config.root_cert = Some(vec![pem_body(&self.ca.pem())?]);
        config.default_retry = false;
        config.auth_info.token = Some(user.to_owned().into());
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig for a user.
    pub(crate) fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let authority = postern_tests::manifests::base64(self.ca.pem().as_bytes());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address), "certificate-authority-data": authority,
            }}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        });
        let path = self.directory.path().join(format!("{user}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("kube-apiserver.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let log = fs::File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// The DER of a certificate in PEM.
fn pem_body(pem: &str) -> Result<Vec<u8>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    Ok(CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec())
}

/// An address of this machine that other processes on it reach, and that is not on loopback: Kubernetes takes no endpoint
/// there. Nothing is sent; `None` on a machine without a network.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // TEST-NET-1 (RFC 5737): connecting a datagram socket only chooses a route.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}
