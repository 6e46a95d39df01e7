//! The gateway as a process of its own, so that its memory can be told from the demonstration's.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::app::EXIT_WITH_PARENT;

/// 20,000 services are read in about two seconds.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than the drain that is asked for.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// A running `postern gateway` on ports of the system's choice.
pub(super) struct GatewayProcess {
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StartError {
    /// The process could not be made, or not be talked to.
    #[error("cannot start the gateway's process: {0}")]
    Spawn(#[from] std::io::Error),
    /// It ended or closed its log before it was ready.
    #[error("the gateway ended before it was ready; it said: {0}")]
    Ended(String),
    /// It was not ready in time.
    #[error("the gateway was not ready after {START_TIMEOUT:?}")]
    Timeout,
    /// It does not have this listener.
    #[error("the gateway has no listener {0}")]
    NoListener(String),
}

impl GatewayProcess {
    /// Starts the gateway on a directory of manifests and waits until it is ready.
    pub(super) async fn start(manifests: &Path, cert_cache: ByteSize) -> Result<Self, StartError> {
        let mut source = std::ffi::OsString::from("dir:");
        source.push(manifests);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("gateway").arg("--source").arg(source);
        for name in crate::listener::ListenerName::ALL {
            command.arg("--listen").arg(format!("{name}=127.0.0.1:0"));
        }
        command
            .args(["--log-format", "json", "--access-log", "off", "--drain-delay", "0s", "--drain-timeout", "5s"])
            .arg(format!("--cert-cache={}", cert_cache.as_u64()))
            .env(EXIT_WITH_PARENT, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C reaches the whole foreground group; the demonstration stops the gateway itself, in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let log = child.stderr.take().ok_or_else(|| std::io::Error::from(ErrorKind::BrokenPipe))?;
        let mut lines = BufReader::new(log).lines();
        let ready = tokio::time::timeout(START_TIMEOUT, read_until_ready(&mut lines)).await;
        let addresses = ready.map_err(|_| StartError::Timeout)??;
        tokio::spawn(forward(lines));
        Ok(Self { child, addresses })
    }

    /// Where it listens.
    pub(super) fn address(&self, listener: &str) -> Result<SocketAddr, StartError> {
        self.addresses.get(listener).copied().ok_or_else(|| StartError::NoListener(listener.to_owned()))
    }

    /// Its process number; 0 once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Ok(status) = self.child.wait().await {
                return status;
            }
        }
    }

    /// Lets it drain, and kills it if it doesn't end in time.
    pub(super) async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself in this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Reads the log: a line `listening` for each listener, then `ready`.
async fn read_until_ready(
    lines: &mut Lines<BufReader<ChildStderr>>,
) -> Result<BTreeMap<String, SocketAddr>, StartError> {
    let mut addresses = BTreeMap::new();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await? {
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |key: &str| fields.get(key).and_then(serde_json::Value::as_str);
        match text("message") {
            Some("listening") => {
                let address = text("address").and_then(|address| address.parse().ok());
                addresses.extend(text("listener").map(str::to_owned).zip(address));
            }
            Some("ready") => return Ok(addresses),
            message => last = message.map_or_else(|| line.clone(), str::to_owned),
        }
    }
    Err(StartError::Ended(last))
}

/// Shows what the gateway warns of.
async fn forward(mut lines: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if matches!(fields.get("level").and_then(serde_json::Value::as_str), Some("WARN" | "ERROR")) {
            eprintln!("\ngateway: {}", fields.get("message").and_then(serde_json::Value::as_str).unwrap_or(&line));
        }
    }
}
