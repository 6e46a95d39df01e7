//! The soak: the real gateway on a simulated cluster, under a memory limit that the kernel enforces, for as long as asked,
//! with clients of all kinds; a verdict at the end.
//!
//! ```text
//!  script ──► simulated cluster (a process) ◄── postern gateway (a process in a memory cgroup) ◄──┐
//!     │                                                                                          │
//!     └─────► load (a process: clients and backends; checks every certificate and answer) ────────┘
//!             once a second: figures of the cgroup, of the gateway's metrics and of the load ──► verdict, report
//! ```
//!
//! The three processes are this executable again. **Not here**: what a certificate, a client or a cluster is; the
//! library of this crate has them.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use postern_tests::Result;

mod arguments;
mod ledger;
mod load;
mod order;
mod peer;
mod processes;
mod report;
mod run;
mod sample;
mod scrape;
mod script;
mod stop;
mod subject;
mod verdict;

use arguments::{Arguments, Output};
use report::Report;
use stop::Stop;

/// The first argument with which this executable is the gateway.
const GATEWAY: &str = "gateway-under-test";

/// The first argument with which this executable is a simulated cluster.
const CLUSTER: &str = "simulated-cluster";

/// The first argument with which this executable is the load.
const LOAD: &str = "load";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let mut arguments = arguments.peekable();
    let is_another = |first: &OsString| [GATEWAY, CLUSTER, LOAD].into_iter().any(|name| first == name);
    if arguments.peek().is_some_and(is_another)
        && let Err(error) = live_and_die_with_the_soak()
    {
        return ended(Err(error.into()));
    }
    if arguments.next_if(|first| first == GATEWAY).is_some() {
        return postern::cli::run(std::iter::once(OsString::from("postern")).chain(arguments));
    }
    if arguments.next_if(|first| first == CLUSTER).is_some() {
        return postern_tests::cluster::main(std::iter::once(OsString::from(CLUSTER)).chain(arguments));
    }
    if arguments.next_if(|first| first == LOAD).is_some() {
        return ended(load::main().map(|()| true));
    }
    ended(soak(&Arguments::parse_from(std::iter::once(program).chain(arguments))))
}

/// For the soak's other processes: what is typed to end the soak is for it alone, and should it be killed, they end too.
fn live_and_die_with_the_soak() -> std::io::Result<()> {
    rustix::process::setpgid(None, None)?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

fn ended(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, reports, and says whether all that was wanted has held.
fn soak(arguments: &Arguments) -> Result<bool> {
    // Better now than after half an hour.
    arguments.report.as_deref().map(Report::prepare).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runs = runtime.block_on(async { run::all(arguments, &Stop::listen()?).await })?;
    let report = Report::new(arguments, runs);
    match arguments.output {
        Output::Human => print!("{report}"),
        Output::Json => println!("{:#}", report.to_json()),
    }
    if let Some(directory) = &arguments.report {
        report.write(directory)?;
    }
    Ok(report.passed())
}
