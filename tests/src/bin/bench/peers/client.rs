//! The clients that make load: wrk, h2load, and this executable where neither can.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use postern_tests::client::raw::RawConnection;
use postern_tests::client::sources;
use postern_tests::conversation::Conversation;
use postern_tests::{Result, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio_rustls::TlsConnector;

use super::directory::HOST;
use crate::{VISITOR, careless};

mod output;

/// A client ends this long after its time at the latest.
const GRACE: Duration = Duration::from_secs(60);

/// A client for one case.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    Wrk(Wrk),
    H2load(H2load),
    Own(Own),
}

/// HTTP/1.1 over TLS, one request at a time on each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrk {
    pub(super) connections: usize,
    pub(super) path: &'static str,
    /// POST of 64 KiB instead of GET.
    pub(super) body: bool,
}

/// HTTP/2 over TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct H2load {
    pub(super) connections: usize,
    /// Streams at a time on each connection.
    pub(super) streams: usize,
    pub(super) path: &'static str,
    /// File to POST and its type, instead of GET.
    pub(super) body: Option<(&'static str, Option<&'static str>)>,
}

/// This executable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// A new connection for each request.
    Handshakes,
    /// Messages of `WebSockets`.
    Websocket,
    /// Messages of gRPC streams.
    Bidi,
    /// Connections that idle after one request.
    Hold { http2: bool },
}

/// Result of a client's turn; times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Requests that were answered with 2xx.
    pub(super) succeeded: u64,
    /// Other answers, and requests without one.
    pub(super) failed: u64,
    /// The client's words about failures.
    pub(super) failures: Option<String>,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Client {
    /// Makes load for some seconds, to the end of the process.
    pub(super) async fn run(self, directory: &Path, https: SocketAddr, seconds: u32) -> Result<Outcome> {
        let url = |path: &str| format!("https://{HOST}:{}{path}", https.port());
        let (command, read): (_, fn(&str) -> Result<Outcome>) = match self {
            Self::Wrk(wrk) => {
                let mut command = Command::new("wrk");
                command.args(["-t1", "--latency", "--timeout", "5s"]);
                command.arg(format!("-c{}", wrk.connections)).arg(format!("-d{seconds}s"));
                if wrk.body {
                    command.arg("-s").arg(directory.join("upload.lua")).env("UPLOAD", directory.join("upload"));
                }
                command.arg(url(wrk.path));
                (command, output::wrk)
            }
            Self::H2load(h2load) => {
                let mut command = Command::new("h2load");
                command.arg("-t1").arg(format!("-c{}", h2load.connections)).arg(format!("-m{}", h2load.streams));
                command.arg(format!("-D{seconds}"));
                if let Some((file, kind)) = h2load.body {
                    command.arg("-d").arg(directory.join(file));
                    if let Some(kind) = kind {
                        command.arg("-H").arg(format!("content-type: {kind}"));
                    }
                }
                command.arg(url(h2load.path));
                (command, output::h2load)
            }
            Self::Own(what) => {
                let what = match what {
                    Own::Handshakes => "handshakes",
                    Own::Websocket => "websocket",
                    Own::Bidi => "bidi",
                    Own::Hold { .. } => return Err("connections that idle are no load".into()),
                };
                let mut command = own(https)?;
                command.arg(what).arg(seconds.to_string());
                (command, output::own)
            }
        };
        read(&printed(command, Duration::from_secs(seconds.into()) + GRACE).await?)
    }
}

/// Starts a process that opens this many connections and holds them until it is dropped.
pub(super) async fn hold(address: SocketAddr, connections: usize, http2: bool) -> Result<Conversation> {
    const OPENED: Duration = Duration::from_secs(120);
    let mut command = own(address)?;
    command.arg("hold").arg(connections.to_string()).arg(if http2 { "h2" } else { "http/1.1" });
    let mut process = Conversation::start("client", command)?;
    let ready = process.hear(OPENED).await?;
    ensure(ready["open"] == connections, || format!("{ready}, not {connections} connections"))?;
    Ok(process)
}

fn own(https: SocketAddr) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VISITOR).arg(https.to_string());
    Ok(command)
}

/// Runs to the end.
async fn printed(mut command: Command, patience: Duration) -> Result<String> {
    let program = command.as_std().get_program().to_owned();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output()).await;
    let output = output.map_err(|_| format!("{} did not end within {patience:?}", program.display()))?;
    let output = output.map_err(|error| format!("{}: {error}; see .ci/install-peers", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success(), || {
        format!("{}: {}: {text}{}", program.display(), output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(text)
}

/// The status of one request on a connection of its own.
pub(super) async fn probe(https: SocketAddr, path: &str) -> Result<u16> {
    visit(&careless::config(Some("http/1.1"))?, https, path).await
}

/// A request on a connection of its own, which the server is asked to close; the status.
pub(super) async fn visit(config: &Arc<ClientConfig>, https: SocketAddr, path: &str) -> Result<u16> {
    let stream = sources::connect(https, None).await?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(HOST)?, stream).await?;
    let mut connection = RawConnection::over(stream);
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).await?;
    let status = connection.status().await?;
    connection.rest(GRACE).await?;
    Ok(status)
}
