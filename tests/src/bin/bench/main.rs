//! Benchmarks that print what the gateway costs: `bench services|ready|events|rotate|handshake|hit|requests|cache|storm|idle`.
//!
//! The gateway runs as a process of its own (this executable again); only its CPU time and memory are counted, not those
//! of the clients and backends, which run here, nor those of a simulated cluster, which is a process of its own as well.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use postern_tests::Result;
use postern_tests::ca::KeyKind;

mod cache;
mod cluster;
mod events;
mod fleet;
mod handshake;
mod hit;
mod idle;
mod load;
mod ready;
mod report;
mod requests;
mod rotate;
mod run;
mod services;
mod storm;

use report::Report;

/// The first argument with which this executable is the gateway.
const GATEWAY: &str = "gateway-under-test";

/// The first argument with which this executable is a simulated cluster.
const CLUSTER: &str = "simulated-cluster";

/// What the gateway costs.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What is measured.
    #[arg(value_enum)]
    benchmark: Benchmark,
    /// Number of services (of `cache` MiB, of `hit` names, of `storm` and `idle` connections); several are measured one after the other.
    #[arg(long, value_delimiter = ',')]
    count: Vec<usize>,
    /// How often each figure is taken.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Kind of keys that `cache` measures with.
    #[arg(long, value_enum, default_value_t = Kind::Ecdsa)]
    kind: Kind,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Benchmark {
    /// Memory per service while no certificate is loaded, and what a start costs.
    Services,
    /// Time, CPU and memory until a gateway on a cluster is ready.
    Ready,
    /// What one change in a cluster costs, and how soon it is served.
    Events,
    /// What a renewed certificate costs, and how soon it is served.
    Rotate,
    /// CPU time per handshake: full, resumed, and with a certificate that is not cached.
    Handshake,
    /// CPU time that finding a certificate among many adds to a handshake with a fixed one.
    Hit,
    /// CPU time per proxied request of 1 KiB over TLS.
    Requests,
    /// Whether memory follows the budget for certificates.
    Cache,
    /// Whether memory comes back after a storm of connections and loads.
    Storm,
    /// Memory and CPU time per idle connection over TLS.
    Idle,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// P-256.
    Ecdsa,
    /// 2048 bits.
    Rsa,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Human,
    Json,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == GATEWAY).is_some() {
        return postern::cli::run(std::iter::once(OsString::from("postern")).chain(arguments));
    }
    if arguments.next_if(|first| first == CLUSTER).is_some() {
        return postern_tests::cluster::main(std::iter::once(OsString::from(CLUSTER)).chain(arguments));
    }
    let arguments = Arguments::parse_from(std::iter::once(program).chain(arguments));
    match measure(&arguments) {
        Ok(report) => {
            match arguments.output {
                Output::Human => print!("{report}"),
                Output::Json => println!("{:#}", report.to_json()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Clients and backends share one thread, so that on a machine with two cores the gateway has the other.
fn measure(arguments: &Arguments) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let counts =
        |default: &[usize]| if arguments.count.is_empty() { default.to_vec() } else { arguments.count.clone() };
    runtime.block_on(async {
        match arguments.benchmark {
            Benchmark::Services => services::measure(&counts(&[1_000, 10_000]), arguments.repeat).await,
            Benchmark::Ready => ready::measure(&counts(&[1_000, 10_000]), arguments.repeat).await,
            Benchmark::Events => events::measure(&counts(&[1_000, 10_000]), arguments.repeat).await,
            Benchmark::Rotate => rotate::measure(&counts(&[100, 10_000]), arguments.repeat).await,
            Benchmark::Handshake => handshake::measure(arguments.repeat).await,
            Benchmark::Hit => hit::measure(&counts(&[1, 10_000]), arguments.repeat).await,
            Benchmark::Requests => requests::measure(arguments.repeat).await,
            Benchmark::Cache => {
                let kind = match arguments.kind {
                    Kind::Ecdsa => KeyKind::P256,
                    Kind::Rsa => KeyKind::Rsa,
                };
                cache::measure(&counts(&[8, 32, 64]), kind, arguments.repeat).await
            }
            Benchmark::Storm => storm::measure(&arguments.count, arguments.repeat).await,
            Benchmark::Idle => idle::measure(&counts(&[2_000]), arguments.repeat).await,
        }
    })
}
