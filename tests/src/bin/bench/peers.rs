//! The gateway beside its peers: nginx, HAProxy, Envoy and, if wanted, an earlier build, one worker each.
//!
//! ```text
//!  client (wrk, h2load, or this executable) ──► proxy ──► nginx with fixed responses
//! ```
//!
//! All peers run all the time and take turns: one turn each in a round, in another order each round. A figure is the CPU
//! time of a proxy's processes, divided by the requests that were answered with 2xx. A round in which the client or the
//! upstream took more CPU time than the proxy says nothing about the proxy; it is dropped and counted.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use postern_tests::Result;

use crate::Output;

mod case;
mod client;
mod directory;
mod envoy;
mod haproxy;
mod nginx;
mod peer;
mod postern;
mod process;
mod report;
mod round;
mod routes;
mod upstream;
mod visitor;
mod wanted;

use case::Case;
use directory::Directory;
use peer::{Kind, Peer};
use report::{Report, Table};
use upstream::Upstream;

pub(crate) use visitor::main as visit;

/// CPU time per request beside nginx, HAProxy and Envoy.
///
/// `.ci/install-peers` gets them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Cases to be measured; by default all.
    #[arg(long, value_enum, value_delimiter = ',')]
    case: Vec<Case>,
    /// Peers to be measured beside Postern; by default all.
    #[arg(long, value_enum, value_delimiter = ',')]
    peer: Vec<Kind>,
    /// Access log: none, or one in each peer's own format to a file.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "off,default")]
    access_log: Vec<AccessLog>,
    /// Rounds of each case.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each peer's turn.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Idle connections of the cases about memory.
    #[arg(long, default_value_t = 2_000)]
    idle: usize,
    /// The executable of Envoy; by default the one of `.ci/install-peers`.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// The executable `postern` of an earlier build.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Another executable `postern` than the one built with this benchmark.
    #[arg(long)]
    postern: Option<PathBuf>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Access log of all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessLog {
    Off,
    Default,
}

/// Measures all cases and prints a table for each.
pub(crate) async fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let cases = if arguments.case.is_empty() { Case::value_variants() } else { &arguments.case };
    let (of_memory, of_time): (Vec<_>, Vec<_>) = cases.iter().copied().partition(|case| case.is_about_memory());
    let mut report = Report::default();
    for &log in &arguments.access_log {
        let bench = Bench::start(arguments, log).await?;
        let mut peers = Vec::new();
        if !of_time.is_empty() {
            for kind in Kind::chosen(arguments) {
                peers.push(bench.peer(kind).await?);
            }
        }
        for &case in &of_time {
            report.add(bench.compare(case, &peers).await?, arguments.output);
        }
        drop(peers);
        // Logging changes nothing about memory.
        for &case in of_memory.iter().filter(|_| log == AccessLog::Off) {
            report.add(bench.weigh(case).await?, arguments.output);
        }
    }
    if arguments.output == Output::Json {
        println!("{:#}", report.to_json());
    }
    Ok(ExitCode::SUCCESS)
}

/// Files and upstream of all peers.
struct Bench<'a> {
    arguments: &'a Arguments,
    log: AccessLog,
    directory: Directory,
    upstream: Upstream,
}

impl<'a> Bench<'a> {
    async fn start(arguments: &'a Arguments, log: AccessLog) -> Result<Self> {
        let directory = Directory::create()?;
        let upstream = Upstream::start(&directory).await?;
        Ok(Self { arguments, log, directory, upstream })
    }

    async fn peer(&self, kind: Kind) -> Result<Peer> {
        Peer::start(kind, self.arguments, &self.directory, &self.upstream, self.log).await
    }

    /// CPU time of a case, in rounds.
    async fn compare(&self, case: Case, peers: &[Peer]) -> Result<Table> {
        let mut table = Table::new(case, self.log, Kind::chosen(self.arguments));
        round::warm_up(peers, case).await?;
        for number in 0..self.arguments.rounds {
            table.add(round::run(peers, &self.upstream, case, self.arguments.seconds, number).await?);
        }
        Ok(table)
    }

    /// Memory of a case. Each peer is started for it: what an earlier load has left would be used again.
    async fn weigh(&self, case: Case) -> Result<Table> {
        let mut table = Table::new(case, self.log, Kind::chosen(self.arguments));
        for kind in Kind::chosen(self.arguments) {
            let peer = self.peer(kind).await?;
            table.add_memory(kind, round::idle(&peer, case, self.arguments.idle).await?);
        }
        Ok(table)
    }
}
