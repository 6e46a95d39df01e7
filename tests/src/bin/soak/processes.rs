//! The processes of a run.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use postern_tests::cgroup::Cgroup;
use postern_tests::cluster::ClusterProcess;
use postern_tests::conversation::Conversation;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::{Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::arguments::{Arguments, Part};
use crate::order::{Order, Tick};
use crate::{GATEWAY, LOAD};

/// A hundred thousand services are read within this, by a debug build too.
const START: Duration = Duration::from_secs(600);

/// The load does what it is told within this.
const ORDER: Duration = Duration::from_secs(30);

/// Clients and backends; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    process: Conversation,
    /// Where its backends listen.
    pub(crate) backends: Vec<SocketAddr>,
}

impl Load {
    /// Starts the backends; the clients are told later whom to talk to.
    pub(crate) async fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(LOAD);
        let mut process = Conversation::start("load", command)?;
        let ready = process.hear(ORDER).await?;
        Ok(Self { process, backends: serde_json::from_value(ready["backends"].clone())? })
    }

    /// Gives an order.
    pub(crate) async fn tell(&mut self, order: &Order) -> Result<()> {
        let answer: Value = self.process.ask(order, ORDER).await?;
        ensure(answer["ok"] == true, || format!("the load answers {answer}"))
    }

    /// What it has seen.
    pub(crate) async fn tick(&mut self) -> Result<Tick> {
        Ok(serde_json::from_value(self.process.ask(&Order::Tick, ORDER).await?)?)
    }
}

/// Starts the gateway on a cluster, in a control group if there is one, and waits until it is ready.
pub(crate) async fn gateway(
    arguments: &Arguments,
    cluster: &ClusterProcess,
    cgroup: Option<&Cgroup>,
) -> Result<Gateway> {
    let program = match &arguments.gateway {
        Some(path) => Program::new(path),
        None => Program::this_executable(GATEWAY)?,
    };
    let mut options = match arguments.cert_cache.as_str() {
        "auto" => Options::default().without_cert_cache(),
        size => Options::default().cert_cache(size),
    };
    options = cgroup.into_iter().flat_map(Cgroup::directories).fold(options, Options::cgroup);
    let options = options.patience(START).quiet().on_loopback();
    let fixed = ["--source=kube", "--status=off", "--access-log=off", "--log-level=warn,postern=info", "--kubeconfig"];
    let options = fixed.into_iter().fold(options, Options::argument).argument(cluster.kubeconfig());
    // A burst alone is to tell what renewals cost, not how long they wait for their turn.
    let all_at_once = (arguments.only == Some(Part::Burst)).then_some("--kube-api-qps=100000");
    let options = all_at_once.into_iter().fold(options, Options::argument);
    let options = arguments.more.iter().fold(options, Options::argument);
    // The last source counts; the directory is not read.
    Gateway::start(&program, Path::new("/"), &options).await
}
