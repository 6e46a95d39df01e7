//! A gateway as a process of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::patience::{PATIENCE, eventually_within};
use crate::{Result, ensure};

mod log;
mod metrics;
mod process;

pub use log::{Entry, Log};
pub use metrics::Metrics;
pub use process::Usage;

/// The listeners of a gateway, by the names that `--listen` and its log use.
pub const LISTENERS: [&str; 8] = [
    "external-http",
    "external-https",
    "internal-http",
    "internal-https",
    "probe-http",
    "probe-https",
    "metrics",
    "admin",
];

/// With this argument services may have their endpoints on loopback, also those of a cluster.
pub const ON_LOOPBACK: &str = "--loopback-endpoints=on";

/// An executable that takes the arguments of `postern`, after some of its own.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    first: Vec<OsString>,
}

impl Program {
    /// An executable that is all `postern`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), first: Vec::new() }
    }

    /// The executable of this very process, which is `postern` if its first argument is this one.
    pub fn this_executable(first: &str) -> Result<Self> {
        Ok(Self { path: std::env::current_exe()?, first: vec![first.into()] })
    }

    /// The same, bound by the permissions of files even where this process, as root, is not. `None` if that cannot be had.
    pub async fn without_privileges(&self) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return Some(self.clone());
        }
        let setpriv = Self::new("setpriv").with(["--bounding-set=-all", "--inh-caps=-all"]);
        let tried = setpriv.run(["true"]).await;
        tried.is_ok_and(|tried| tried.status.success()).then(|| setpriv.with([&self.path]).with(&self.first))
    }

    fn with<S: Into<OsString>>(mut self, first: impl IntoIterator<Item = S>) -> Self {
        self.first.extend(first.into_iter().map(Into::into));
        self
    }

    /// The executable with its first arguments, started by a shell that sets its limits.
    fn command_with(&self, options: &Options) -> Command {
        let limit = options.file_limit.map(|files| format!("ulimit -n {files}; "));
        // The shell's own id is the program's, since it becomes the program.
        let enter =
            options.cgroups.iter().map(|group| format!("echo $$ > '{}/cgroup.procs' || exit 1; ", group.display()));
        let before: String = limit.into_iter().chain(enter).collect();
        if before.is_empty() {
            return self.command();
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{before}exec \"$0\" \"$@\"")).arg(&self.path).args(&self.first);
        shell
    }

    /// The executable with its first arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.first);
        command
    }

    /// Runs to the end and returns what was printed.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        Ok(tokio::time::timeout(PATIENCE, command.output()).await.map_err(|_| "the program did not end")??)
    }
}

/// How a gateway is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    arguments: Vec<OsString>,
    cert_cache: Option<String>,
    file_limit: Option<u32>,
    cgroups: Vec<PathBuf>,
    variables: Vec<(String, String)>,
    patience: Duration,
    quiet: bool,
    without_stdout: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            cert_cache: Some("8MiB".to_owned()),
            file_limit: None,
            cgroups: Vec::new(),
            variables: Vec::new(),
            patience: PATIENCE,
            quiet: false,
            without_stdout: false,
        }
    }
}

impl Options {
    /// The budget of the certificate cache, for example `64KiB`.
    pub fn cert_cache(mut self, size: &str) -> Self {
        self.cert_cache = Some(size.to_owned());
        self
    }

    /// No flag about the certificate cache.
    pub fn without_cert_cache(mut self) -> Self {
        self.cert_cache = None;
        self
    }

    /// One more argument. A `--listen` replaces what the harness would have asked for.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Lets services of a simulated cluster have their endpoints on this host.
    pub fn on_loopback(self) -> Self {
        self.argument(ON_LOOPBACK)
    }

    /// Lets the process open this many files at most.
    pub fn file_limit(mut self, files: u32) -> Self {
        self.file_limit = Some(files);
        self
    }

    /// An environment variable of the process.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts the process into the control group of this directory before it runs, beside others that were named.
    pub fn cgroup(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cgroups.push(directory.into());
        self
    }

    /// How long it may take to be ready.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Does not print the end of the log when the gateway is dropped; [`Gateway::explain`] adds it to an error.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Discards standard output, which has the access log.
    pub fn without_stdout(mut self) -> Self {
        self.without_stdout = true;
        self
    }

    /// The arguments of `postern` that these options stand for.
    pub fn arguments(&self, manifests: &Path) -> Vec<OsString> {
        let mut source = OsString::from("dir:");
        source.push(manifests);
        let mut arguments: Vec<OsString> = vec!["gateway".into(), "--source".into(), source];
        for listener in LISTENERS {
            arguments.extend(["--listen".into(), format!("{listener}=127.0.0.1:0").into()]);
        }
        arguments.extend(["--log-format".into(), "json".into()]);
        if let Some(size) = &self.cert_cache {
            arguments.extend(["--cert-cache".into(), size.into()]);
        }
        for (flag, value) in [("--drain-delay", "300ms"), ("--drain-timeout", "5s")] {
            if !self.arguments.iter().any(|argument| argument == flag) {
                arguments.extend([flag.into(), value.into()]);
            }
        }
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

/// A running gateway; killed on drop.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pid: Pid,
    log: Log,
    /// The tasks that read its streams, as long as nobody has waited for its end.
    readers: Vec<JoinHandle<()>>,
    addresses: BTreeMap<String, SocketAddr>,
    quiet: bool,
}

impl Gateway {
    /// Starts a gateway on a directory of manifests and waits until it says that it is ready.
    pub async fn start(program: &Program, manifests: &Path, options: &Options) -> Result<Self> {
        let mut gateway = Self::spawn(program, manifests, options)?;
        let (child, log) = (&mut gateway.child, &gateway.log);
        let ready = eventually_within(options.patience, "the gateway is ready", async || {
            if log.find("ready").is_some() {
                return Ok(Ok(()));
            }
            match child.try_wait()? {
                Some(status) => Ok(Err(format!("the gateway ended before it was ready: {status}").into())),
                None => Err("no `ready` in its log".into()),
            }
        });
        ready.await.flatten().map_err(|error| gateway.explain(error))?;
        gateway.addresses = gateway.log.listening()?;
        Ok(gateway)
    }

    /// Starts a gateway on a simulated cluster and waits until it says that it is ready.
    pub async fn start_on(program: &Program, cluster: &Cluster, options: &Options) -> Result<Self> {
        let options = options.clone().on_loopback().argument("--source=kube").argument("--kubeconfig");
        // The last source counts; the directory is not read.
        Self::start(program, Path::new("/"), &options.argument(cluster.kubeconfig()?)).await
    }

    /// Starts a gateway and does not wait.
    pub fn spawn(program: &Program, manifests: &Path, options: &Options) -> Result<Self> {
        let mut command = program.command_with(options);
        command.args(options.arguments(manifests));
        command.envs(options.variables.iter().map(|(name, value)| (name, value)));
        command.env_remove("POSTERN_LISTEN").stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if options.without_stdout { Stdio::null() } else { Stdio::piped() });
        let mut child = command.kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or("the process has no id")?;
        let log = Log::default();
        let mut readers = vec![log.follow(child.stderr.take().ok_or("no stderr")?)];
        readers.extend(child.stdout.take().map(|stdout| log.follow(stdout)));
        Ok(Self { child, pid, log, readers, addresses: BTreeMap::new(), quiet: options.quiet })
    }

    /// Waits until it says where it listens, whether or not it is ready.
    pub async fn listening(&mut self) -> Result<()> {
        let log = self.log.clone();
        self.addresses = eventually_within(PATIENCE, "the gateway listens", async || {
            let addresses = log.listening()?;
            ensure(addresses.len() == LISTENERS.len(), || format!("{addresses:?}"))?;
            Ok(addresses)
        })
        .await?;
        Ok(())
    }

    /// The address that a listener is bound to.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        Ok(*self.addresses.get(listener).ok_or_else(|| format!("no listener {listener} in the gateway's log"))?)
    }

    /// What it has logged so far, on either stream.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The error, and the end of the log, which may say why.
    pub fn explain(&self, error: impl Into<crate::Error>) -> crate::Error {
        format!("{}\n{}", error.into(), self.log.tail()).into()
    }

    /// Memory and CPU time it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid).map_err(|error| self.explain(error))
    }

    /// Lets the running process open no more files, until what this yields is dropped.
    pub fn no_more_files(&self) -> Result<FileLimit> {
        let few = Rlimit { current: Some(1), maximum: None };
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let before = prlimit(Some(self.pid), Resource::Nofile, Rlimit { maximum, ..few })?;
        Ok(FileLimit { pid: self.pid, before })
    }

    /// How it has ended, if it has.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Asks it to end gracefully.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::TERM)?)
    }

    /// Waits for its end, and for all that it has printed.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.map_err(|_| "the gateway did not end")??;
        for reader in self.readers.drain(..) {
            tokio::time::timeout(PATIENCE, reader).await.map_err(|_| "the gateway's streams did not end")??;
        }
        Ok(status)
    }

    /// What its admin listener answers in JSON.
    pub async fn admin(&self, path: &str) -> Result<serde_json::Value> {
        let reply = crate::client::get_plain(self.address("admin")?, path).await?;
        ensure(reply.status == 200, || format!("{path} answered {}", reply.status))?;
        Ok(serde_json::from_str(&reply.text())?)
    }

    /// A setting as its admin listener shows it.
    pub async fn setting(&self, name: &str) -> Result<serde_json::Value> {
        let all = self.admin("/api/v1/settings").await?;
        let found = all.as_array().into_iter().flatten().find(|setting| setting["name"] == name);
        Ok(found.ok_or_else(|| format!("no setting {name}"))?.clone())
    }

    /// Its metrics, as its listener for metrics shows them.
    pub async fn metrics(&self) -> Result<Metrics> {
        let reply = crate::client::get_plain(self.address("metrics")?, "/metrics").await?;
        ensure(reply.status == 200, || format!("/metrics answered {}", reply.status))?;
        Ok(Metrics::parse(&reply.text()))
    }
}

/// A process that can open no more files; as before when dropped.
#[derive(Debug)]
pub struct FileLimit {
    pid: Pid,
    before: Rlimit,
}

impl Drop for FileLimit {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ended = prlimit(Some(self.pid), Resource::Nofile, self.before);
    }
}

impl Drop for Gateway {
    /// The end of the log is part of the output of a case that fails; libtest shows it only then.
    fn drop(&mut self) {
        if !self.quiet {
            eprintln!("{}", self.log.tail());
        }
    }
}
