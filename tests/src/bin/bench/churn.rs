//! Requests while routes are created at a rate: their time compared with that before, and the time until a new host is served.
//!
//! ```text
//!  this process ─ creates services ─► simulated cluster ─ watch ─► gateway ──► backends
//!     │                                                             ▲  ▲
//!     └─ polls each new host until it is served ────────────────────┘  └─ requests at a steady rate (a process)
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use postern_tests::Result;
use postern_tests::conversation::Conversation;
use postern_tests::gateway::Gateway;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::backend::{Backends, Buffers};
use crate::cluster::Cluster;
use crate::report::Report;
use crate::run::start_on_with;
use crate::{CHURN_LOAD, Output};

mod load;
mod served;

use load::Outcome;
use served::Poller;

/// Factor by which the 99th percentile of requests may rise during churn.
const SLOWER: f64 = 1.5;

/// A new host is served within this.
const SERVED: Duration = Duration::from_millis(250);

/// Requests and time to be served while many routes are created.
///
/// Exits with 1 if requests get much slower, or a host is not served in time.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Services that are created.
    #[arg(long, default_value_t = 5_000)]
    count: usize,
    /// Services created a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Services that are there before.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..))]
    services: u32,
    /// Requests a second to some of these.
    #[arg(long, default_value_t = 1_000)]
    requests: u32,
    /// Seconds of requests without churn, before it.
    #[arg(long, default_value_t = 15)]
    base_seconds: u32,
    /// Number of runs.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Lets the gateway write status.
    #[arg(long)]
    status: bool,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Measures, prints, and says whether it held.
pub(crate) async fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let mut report = Report::new(
        "churn",
        format!(
            "{} services are created at {} a second on a simulated cluster with {} (KIngress, Service, EndpointSlice and \
             Secret each), while {} requests a second over 50 kept-alive TLS connections run. Wanted: p99 during churn at \
             most {SLOWER} x that before it, each host served within {SERVED:?} of the order to create it",
            arguments.count, arguments.rate, arguments.services, arguments.requests
        ),
    );
    let mut holds = true;
    for _ in 0..arguments.repeat {
        let found = once(arguments).await?;
        let mut sample = |name: &str, unit, value| report.sample(name, unit, value);
        for (name, outcome) in [("without churn", found.before), ("during churn", found.during)] {
            sample(&format!("p50 {name}"), "ms", outcome.p50);
            sample(&format!("p99 {name}"), "ms", outcome.p99);
        }
        let slower = found.during.p99 / found.before.p99;
        sample("p99 during churn / without", "x", slower);
        for (name, share) in [("half of the hosts", 0.5), ("99 % of the hosts", 0.99), ("all hosts", 1.0)] {
            sample(&format!("{name} served within"), "ms", found.served_within(share).as_secs_f64() * 1e3);
        }
        let late = found.served.iter().filter(|took| **took > SERVED).count();
        sample("hosts served too late", "", late as f64);
        sample("processors for the gateway during churn", "", found.gateway);
        sample("processors for the cluster during churn", "", found.cluster);
        holds &= slower <= SLOWER && late == 0;
    }
    match arguments.output {
        Output::Human => println!("{report}\n{}", if holds { "holds" } else { "FAILS" }),
        Output::Json => println!("{:#}", report.to_json()),
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Figures of one run.
struct Found {
    before: Outcome,
    during: Outcome,
    /// Time until each new host was served, in ascending order.
    served: Vec<Duration>,
    /// Processors that these took during churn. On a machine with few, requests wait for the cluster's work too.
    gateway: f64,
    cluster: f64,
}

impl Found {
    fn served_within(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let rank = (self.served.len() as f64 * share).ceil() as usize;
        self.served.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

async fn once(arguments: &Arguments) -> Result<Found> {
    let backends = Backends::start(Buffers::Default).await?;
    let first = usize::try_from(arguments.services)?;
    let endpoint = *backends.addresses.first().ok_or("no backend")?;
    let mut cluster = Cluster::start(first, Some(endpoint)).await?;
    let more = if arguments.status { vec!["--status=on".to_owned()] } else { Vec::new() };
    let gateway = start_on_with(&cluster, "64MiB", &more).await?.gateway;
    let run = run(arguments, &mut cluster, &gateway, endpoint).await;
    run.map_err(|error| gateway.explain(error))
}

async fn run(arguments: &Arguments, cluster: &mut Cluster, gateway: &Gateway, endpoint: SocketAddr) -> Result<Found> {
    let https = gateway.address("external-https")?;
    load_for(https, arguments, 3).await?;
    let before = load_for(https, arguments, arguments.base_seconds).await?;
    let (used, used_by_cluster, began) = (gateway.usage()?, cluster.usage()?, Instant::now());
    let seconds = u32::try_from(arguments.count)?.div_ceil(arguments.rate);
    let (during, served) = tokio::join!(
        load_for(https, arguments, seconds),
        create(arguments, cluster, Poller::new(gateway.address("external-http")?), endpoint)
    );
    let seconds = began.elapsed().as_secs_f64();
    let gateway = gateway.usage()?.cpu_since(&used).as_secs_f64() / seconds;
    let cluster = cluster.usage()?.cpu_since(&used_by_cluster).as_secs_f64() / seconds;
    let mut served = served?;
    served.sort_unstable();
    Ok(Found { before, during: during?, served, gateway, cluster })
}

/// Creates services one after the other, and returns how long each took until it was served.
async fn create(
    arguments: &Arguments,
    cluster: &mut Cluster,
    poller: Poller,
    endpoint: SocketAddr,
) -> Result<Vec<Duration>> {
    let first = usize::try_from(arguments.services)?;
    let mut ticks = interval(Duration::from_secs(1) / arguments.rate);
    // What was late is caught up with: the rate is kept.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut polls = JoinSet::new();
    for number in first..first + arguments.count {
        ticks.tick().await;
        let began = Instant::now();
        let order = json!({"command": "create", "first": number, "count": 1, "endpoints": [endpoint]});
        cluster.tell(&order).await?;
        let poller = poller.clone();
        polls.spawn(async move { poller.until_served(number, began).await });
    }
    let mut served = Vec::new();
    while let Some(took) = polls.join_next().await {
        served.push(took??);
    }
    Ok(served)
}

/// Requests in a process of their own, for some seconds.
async fn load_for(https: SocketAddr, arguments: &Arguments, seconds: u32) -> Result<Outcome> {
    const GRACE: Duration = Duration::from_secs(30);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(CHURN_LOAD).args([https.to_string(), arguments.requests.to_string(), seconds.to_string()]);
    let mut process = Conversation::start("load", command)?;
    Ok(serde_json::from_value(process.hear(Duration::from_secs(seconds.into()) + GRACE).await?)?)
}

/// The load's process.
pub(crate) fn load(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<ExitCode> {
    let name = std::iter::once(CHURN_LOAD.into());
    load::main(&load::Arguments::parse_from(name.chain(arguments)))
}
