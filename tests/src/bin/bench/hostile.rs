//! Trials of the gateway against attackers: in a real memory cgroup, with a CPU quota, while another client visits it.
//!
//! ```text
//!  attacker (a process) ──► gateway (a process in a cgroup) ──► backends (a process)
//!  visitor (here)       ──►    ▲ kernel's counters, every 20 ms
//! ```
//!
//! One trial for each limit, quota, transport and case: the gateway starts, the visitor comes alone for some seconds, and
//! then beside the attacker. The attacker opens all that its case asks for at once, and opens again what ends.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, ValueEnum};
use postern_tests::{Result, ensure};

use crate::{Output, raise_file_limit};

mod attack;
mod case;
mod limits;
mod processors;
mod report;
mod site;
mod trial;
mod verdict;
mod visitor;
mod watch;

use case::Case;
use limits::Setting;
use report::Report;
use trial::Trial;

/// Files that the attacker, the backends and the gateway may each want to open.
const FILES: u64 = 20_000;

/// Attacks on the gateway within a memory limit and a CPU quota.
///
/// Exits with 1 if it does not hold. Needs permission to create control groups.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Memory limits of the gateway, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "128MiB,200MiB,512MiB", value_parser = limits::size)]
    limit: Vec<ByteSize>,
    /// CPU quotas of the gateway in percent of one processor.
    #[arg(long, value_delimiter = ',', default_value = "20,100", value_parser = clap::value_parser!(u32).range(1..))]
    cpu: Vec<u32>,
    /// Attacks; by default all.
    #[arg(long, value_enum, value_delimiter = ',')]
    case: Vec<Case>,
    /// Listeners that attacks with requests go to: with TLS, or without.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tls")]
    transport: Vec<Transport>,
    /// Addresses that attack at once, each with all of its case as far as open files allow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=200))]
    sources: u8,
    /// Seconds of each attack.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Seconds in which the visitor comes alone, before each attack.
    #[arg(long, default_value_t = 5)]
    base_seconds: u64,
    /// Connections and streams a second that the attacker opens again after they ended.
    #[arg(long, default_value_t = 500)]
    reopen_rate: u32,
    /// Another executable as the gateway, instead of the one built with this benchmark.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// More arguments for `postern gateway`.
    #[arg(last = true)]
    more: Vec<OsString>,
}

/// Listener that an attack goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// `external-https`.
    Tls,
    /// `external-http`.
    Plain,
}

/// Tries every combination, and prints a row for each.
pub(crate) async fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let files = raise_file_limit()?;
    ensure(files >= FILES, || format!("{files} files may be open, {FILES} are wanted; raise the limit (ulimit -n)"))?;
    let trial = Trial::prepare(arguments).await?;
    let mut report = Report::new(arguments);
    if arguments.output == Output::Human {
        println!("{}", Report::head());
    }
    for setting in Setting::all(arguments) {
        let row = trial.run(&setting).await;
        if arguments.output == Output::Human {
            println!("{}", report.line(&row));
        }
        report.add(row);
    }
    if arguments.output == Output::Json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The attacker's process, until its input ends.
pub(crate) fn attack(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    const NICENESS: i32 = 10;
    raise_file_limit()?;
    // The gateway and the visitor go first where processors are few.
    rustix::process::nice(NICENESS)?;
    let name = std::iter::once(OsString::from(crate::ATTACKER));
    attack::main(&attack::Arguments::parse_from(name.chain(arguments)))
}

/// A time from whole seconds.
fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
