//! The cluster in a process of its own, for benchmarks: filled with services, then told what to do on standard input.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::users::ADMIN;
use super::{Cluster, Options, Stages};
use crate::Result;

mod commands;
mod fill;
mod handle;

use commands::{Command, obey};
pub use fill::numbered_service;
pub use handle::ClusterProcess;

/// A simulated Kubernetes API.
///
/// When it is ready it says so in a line of JSON:
/// `{"ready":true,"url":…,"tls_url":…,"token":…,"ca":…,"objects":…,"millis":…}`. Then it takes one JSON command a line and answers each with a line; at the end of its input it ends.
#[derive(Debug, Parser)]
#[command(name = "simulated-cluster")]
struct Args {
    /// How many Knative services it holds from the start: KIngress, Service, EndpointSlice and Secret each.
    #[arg(long, default_value_t = 0)]
    services: usize,
    /// Where it listens without TLS; with TLS on another port of the same address.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where it writes a kubeconfig (over TLS).
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The endpoints of the services, in turn; by default each has a made-up one of its own.
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<SocketAddr>,
    /// How many changes of each kind are kept for watches.
    #[arg(long, default_value_t = 16_384)]
    history: usize,
    /// How much faster than ours its time passes.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Lets the built-in stages run, with this seed.
    #[arg(long)]
    stages: Option<u64>,
}

/// Runs a cluster until its input ends.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    const USAGE: u8 = 64;
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output, faults to standard error; where neither can be written, nobody reads.
            let _printed = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated-cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let began = Instant::now();
    let options = Options {
        listen: args.listen,
        history: args.history,
        speed: args.speed,
        stages: args.stages.map(|_| Stages::built_in()).transpose()?,
        seed: args.stages.unwrap_or_default(),
        ..Options::default()
    };
    let cluster = Cluster::start(options).await?;
    tokio::task::block_in_place(|| fill::services(&cluster, args.services, &args.endpoints))?;
    if let Some(path) = &args.kubeconfig {
        cluster.write_kubeconfig(path, ADMIN)?;
    }
    let millis = u64::try_from(began.elapsed().as_millis())?;
    say(&json!({
        "ready": true, "url": cluster.url(), "tls_url": cluster.tls_url(), "token": cluster.token(), "ca": cluster.ca_pem(),
        "objects": cluster.objects(), "millis": millis,
    }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if !line.trim().is_empty() {
            say(&answer(&cluster, &line).await);
        }
    }
    Ok(())
}

/// Carries one command out; a command that fails is answered, and the next one is taken.
async fn answer(cluster: &Cluster, line: &str) -> Value {
    let done = match serde_json::from_str::<Command>(line) {
        Ok(command) => obey(cluster, command).await,
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| json!({"ok": false, "error": error.to_string()}))
}

fn say(value: &Value) {
    println!("{value}");
}
