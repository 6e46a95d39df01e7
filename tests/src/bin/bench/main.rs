//! Benchmarks that print what the gateway costs: `bench services|ready|events|rotate|handshake|hit|requests|cache|storm|idle`,
//! how that compares with others: `bench peers`, and whether it holds against attackers: `bench hostile`.
//!
//! The gateway runs as a process of its own (this executable again); only its CPU time and memory are counted, not those
//! of the clients and backends, which run here, nor those of a simulated cluster, which is a process of its own as well.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use postern_tests::Result;
use postern_tests::ca::KeyKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod backend;
mod cache;
mod careless;
mod churn;
mod cluster;
mod events;
mod fleet;
mod handshake;
mod hit;
mod hostile;
mod http2;
mod idle;
mod load;
mod peers;
mod ready;
mod report;
mod requests;
mod rotate;
mod run;
mod services;
mod storm;

/// The first argument with which this executable is the gateway.
const GATEWAY: &str = "gateway-under-test";

/// The first argument with which this executable attacks a gateway.
const ATTACKER: &str = "hostile-attacker";

/// The first argument with which this executable makes requests at a steady rate.
const CHURN_LOAD: &str = "churn-load";

/// The first argument with which this executable is backends.
const BACKENDS: &str = "backends";

/// The first argument with which this executable is a client of the gateway and its peers.
const VISITOR: &str = "peers-visitor";

/// The first argument with which this executable is a simulated cluster.
const CLUSTER: &str = "simulated-cluster";

/// Benchmarks of the gateway.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Clone, Debug, Subcommand)]
enum Benchmark {
    #[command(flatten)]
    Cost(Cost),
    Hostile(hostile::Arguments),
    Peers(peers::Arguments),
    Churn(churn::Arguments),
}

/// Benchmarks that print a report of figures.
#[derive(Clone, Debug, Subcommand)]
enum Cost {
    /// Memory per service while no certificate is loaded, and what a start costs.
    Services(Figures),
    /// Time, CPU and memory until a gateway on a cluster is ready.
    Ready(Figures),
    /// What one change in a cluster costs, and how soon it is served.
    Events(Figures),
    /// What a renewed certificate costs, and how soon it is served.
    Rotate(Figures),
    /// CPU time per handshake: full, resumed, and with a certificate that is not cached.
    Handshake(Figures),
    /// CPU time that finding a certificate among many adds to a handshake with a fixed one.
    Hit(Figures),
    /// CPU time per proxied request of 1 KiB over TLS.
    Requests(Figures),
    /// Whether memory follows the budget for certificates.
    Cache(CacheFigures),
    /// Whether memory comes back after a storm of connections and loads.
    Storm(Figures),
    /// Memory and CPU time per idle connection over TLS.
    Idle(Figures),
}

/// Options of benchmarks that print figures.
#[derive(Clone, Debug, Args)]
struct Figures {
    /// Number of services (of `cache` MiB, of `hit` names, of `storm` and `idle` connections); several are measured one after the other.
    #[arg(long, value_delimiter = ',')]
    count: Vec<usize>,
    /// Number of samples of each figure.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Clone, Debug, Args)]
struct CacheFigures {
    #[command(flatten)]
    figures: Figures,
    /// Kind of keys.
    #[arg(long, value_enum, default_value_t = Kind::Ecdsa)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// P-256.
    Ecdsa,
    /// 2048 bits.
    Rsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Human,
    Json,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let mut arguments = arguments.peekable();
    let with_name = |name: &str| std::iter::once(OsString::from(name));
    let is_child = |first: &OsString| {
        [GATEWAY, CLUSTER, ATTACKER, BACKENDS, VISITOR, CHURN_LOAD].into_iter().any(|name| first == name)
    };
    if arguments.peek().is_some_and(is_child)
        && let Err(error) = end_with_parent()
    {
        return ended(Err(error.into()));
    }
    if arguments.next_if(|first| first == GATEWAY).is_some() {
        return postern::cli::run(with_name("postern").chain(arguments));
    }
    if arguments.next_if(|first| first == CLUSTER).is_some() {
        return postern_tests::cluster::main(with_name(CLUSTER).chain(arguments));
    }
    if arguments.next_if(|first| first == ATTACKER).is_some() {
        return ended(hostile::attack(arguments));
    }
    if arguments.next_if(|first| first == BACKENDS).is_some() {
        return ended(backend::main(arguments));
    }
    if arguments.next_if(|first| first == VISITOR).is_some() {
        return ended(peers::visit(arguments));
    }
    if arguments.next_if(|first| first == CHURN_LOAD).is_some() {
        return ended(churn::load(arguments));
    }
    let arguments = Arguments::parse_from(std::iter::once(program).chain(arguments));
    ended(run(&arguments.benchmark))
}

/// Kills this process when the benchmark ends, however that ends.
fn end_with_parent() -> std::io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

fn ended(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Clients and backends share one thread, so that on a machine with two cores the gateway has the other.
fn run(benchmark: &Benchmark) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match benchmark {
            Benchmark::Hostile(arguments) => hostile::measure(arguments).await,
            Benchmark::Churn(arguments) => churn::measure(arguments).await,
            Benchmark::Peers(arguments) => peers::measure(arguments).await,
            Benchmark::Cost(cost) => measure(cost).await.map(|()| ExitCode::SUCCESS),
        }
    })
}

/// Lets this process and its children open as many files as they may, and returns how many these are.
fn raise_file_limit() -> Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// A value's name on the command line.
fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Measures and prints a report of figures.
async fn measure(cost: &Cost) -> Result<()> {
    use Cost::{Cache, Events, Handshake, Hit, Idle, Ready, Requests, Rotate, Services, Storm};
    let counts = |figures: &Figures, default: &[usize]| {
        if figures.count.is_empty() { default.to_vec() } else { figures.count.clone() }
    };
    let (figures, report) = match cost {
        Services(figures) => (figures, services::measure(&counts(figures, &[1_000, 10_000]), figures.repeat).await?),
        Ready(figures) => (figures, ready::measure(&counts(figures, &[1_000, 10_000]), figures.repeat).await?),
        Events(figures) => (figures, events::measure(&counts(figures, &[1_000, 10_000]), figures.repeat).await?),
        Rotate(figures) => (figures, rotate::measure(&counts(figures, &[100, 10_000]), figures.repeat).await?),
        Handshake(figures) => (figures, handshake::measure(figures.repeat).await?),
        Hit(figures) => (figures, hit::measure(&counts(figures, &[1, 10_000]), figures.repeat).await?),
        Requests(figures) => (figures, requests::measure(figures.repeat).await?),
        Cache(CacheFigures { figures, kind }) => {
            let kind = match kind {
                Kind::Ecdsa => KeyKind::P256,
                Kind::Rsa => KeyKind::Rsa,
            };
            (figures, cache::measure(&counts(figures, &[8, 32, 64]), kind, figures.repeat).await?)
        }
        Storm(figures) => (figures, storm::measure(&figures.count, figures.repeat).await?),
        Idle(figures) => (figures, idle::measure(&counts(figures, &[2_000]), figures.repeat).await?),
    };
    match figures.output {
        Output::Human => print!("{report}"),
        Output::Json => println!("{:#}", report.to_json()),
    }
    Ok(())
}
