//! The table of peers, and the start of each.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use postern_tests::{Result, address, ensure};
use tokio::process::Command;

use super::client::probe;
use super::directory::Directory;
use super::process::Process;
use super::routes::{Route, routes};
use super::upstream::Upstream;
use super::{AccessLog, Arguments, envoy, haproxy, nginx, postern};

/// A proxy that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The build under test.
    Postern,
    /// An earlier build.
    Baseline,
    Nginx,
    Haproxy,
    Envoy,
}

/// Address, routes and access log of a peer.
pub(super) struct Layout<'a> {
    pub(super) directory: &'a Directory,
    pub(super) https: SocketAddr,
    pub(super) routes: &'a [Route],
    /// The access log; `None` for none.
    pub(super) log: Option<PathBuf>,
}

/// A running peer.
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) process: Process,
    pub(super) https: SocketAddr,
    /// Files for clients.
    pub(super) directory: PathBuf,
}

impl Kind {
    /// Those that were asked for, Postern first.
    pub(super) fn chosen(arguments: &Arguments) -> Vec<Self> {
        let chosen = |kind: &Self| match kind {
            Self::Postern => true,
            Self::Baseline => arguments.baseline.is_some(),
            other => arguments.peer.is_empty() || arguments.peer.contains(other),
        };
        Self::value_variants().iter().copied().filter(chosen).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postern => "Postern",
            Self::Baseline => "earlier build",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        }
    }

    /// Name of its files.
    fn file(self) -> &'static str {
        match self {
            Self::Postern => "postern",
            Self::Baseline => "baseline",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Writes its configuration.
    fn command(self, arguments: &Arguments, layout: &Layout<'_>) -> Result<Command> {
        match self {
            Self::Postern => postern::peer(arguments.postern.as_deref(), self.file(), layout),
            Self::Baseline => postern::peer(arguments.baseline.as_deref(), self.file(), layout),
            Self::Nginx => nginx::peer(layout),
            Self::Haproxy => haproxy::peer(layout),
            Self::Envoy => envoy::peer(&arguments.envoy.clone().unwrap_or_else(envoy::installed), layout),
        }
    }
}

impl Peer {
    /// Starts a peer and waits until it serves.
    pub(super) async fn start(
        kind: Kind,
        arguments: &Arguments,
        directory: &Directory,
        upstream: &Upstream,
        log: AccessLog,
    ) -> Result<Self> {
        let file = |what: &str| directory.path(&format!("{}.{what}.log", kind.file()));
        let log = (log == AccessLog::Default).then(|| file("access"));
        let https = address::of_localhost()?;
        let routes = routes(upstream);
        let layout = Layout { directory, https, routes: &routes, log };
        let mut process = Process::start(kind.command(arguments, &layout)?, &file("output"))?;
        let probe = async || {
            let status = probe(https, "/1k").await?;
            ensure(status == 200, || format!("answered {status}"))
        };
        process.ready(probe).await.map_err(|error| format!("{}: {error}", kind.name()))?;
        Ok(Self { kind, process, https, directory: directory.root().to_owned() })
    }
}
