//! The attacker: a process that holds as many connections as its case has, and reopens those that end.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use postern_tests::Result;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::{Case, FILES, Transport};
use crate::value_name;

mod counts;
pub(super) mod hello;
pub(super) mod http1;
pub(super) mod http2;
mod pace;
pub(super) mod script;
mod target;

use counts::Counts;
pub(super) use counts::Report;
use pace::Pace;
use script::Script;
use target::Target;

/// Connecting and shaking hands may take this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Files that are not connections.
const OTHER_FILES: u64 = 500;

/// An order for the attacker's process.
#[derive(Clone, Debug, Parser)]
pub(super) struct Arguments {
    #[arg(long, value_enum)]
    pub(super) case: Case,
    #[arg(long, value_enum)]
    pub(super) transport: Transport,
    /// Listener with TLS.
    #[arg(long)]
    pub(super) https: SocketAddr,
    /// Listener without TLS.
    #[arg(long)]
    pub(super) http: SocketAddr,
    /// Addresses to attack from.
    #[arg(long)]
    pub(super) source: Vec<Ipv4Addr>,
    #[arg(long)]
    pub(super) reopen_rate: u32,
}

impl Arguments {
    /// The command line.
    pub(super) fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--case={}", value_name(&self.case)),
            format!("--transport={}", value_name(&self.transport)),
            format!("--https={}", self.https),
            format!("--http={}", self.http),
            format!("--reopen-rate={}", self.reopen_rate),
        ];
        args.extend(self.source.iter().map(|source| format!("--source={source}")));
        args
    }
}

/// State that all connections of an attack share.
struct Attack {
    target: Target,
    script: Script,
    counts: Counts,
    pace: Pace,
}

/// Attacks until a line comes in, then prints the counts.
pub(super) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let attack = Arc::new(Attack {
            target: Target::new(arguments)?,
            script: arguments.case.script(arguments.transport),
            counts: Counts::default(),
            pace: Pace::new(arguments.reopen_rate),
        });
        let most = usize::try_from(FILES - OTHER_FILES)? / arguments.source.len().max(1);
        for &source in &arguments.source {
            for number in 0..arguments.case.connections().min(most) {
                tokio::spawn(hold_one(Arc::clone(&attack), source, number));
            }
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        if lines.next_line().await?.is_some() {
            println!("{}", serde_json::to_string(&attack.counts.report())?);
        }
        Ok(ExitCode::SUCCESS)
    });
    // What connections are still doing is of no interest.
    runtime.shutdown_background();
    outcome
}

/// Keeps one connection up.
async fn hold_one(attack: Arc<Attack>, source: Ipv4Addr, number: usize) {
    let Attack { target, script, counts, pace } = &*attack;
    loop {
        match timeout(PATIENCE, target.open(source, script)).await {
            Ok(Ok(stream)) => {
                let _open = counts.open();
                // An error is the gateway's way to end it.
                let _ended = script.run(stream, number, counts, pace).await;
            }
            Ok(Err(error)) => counts.failed(&error.to_string()),
            Err(_) => counts.failed("no handshake in time"),
        }
        pace.turn().await;
    }
}
