//! The command line.

mod certs;
mod gateway;
pub(crate) mod output;
pub(crate) mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};

/// Something failed.
pub const EXIT_FAILED: u8 = 1;

/// The command line or the configuration is wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs a command line; the first of `args` is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are asked for; anything else is a mistake. Nothing is left to do if printing fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match matches.subcommand() {
        Some(("gateway", matches)) => gateway::run(matches),
        Some(("check", matches)) => crate::check::run(matches),
        Some(("certs", matches)) => certs::run(matches),
        Some(("demo", matches)) => crate::demo::run(matches),
        _ => unreachable!("clap requires one of the subcommands above"),
    }
}

fn command() -> Command {
    Command::new("postern")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An ingress gateway for Kubernetes and Knative whose memory is bounded")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(gateway::command())
        .subcommand(crate::check::command())
        .subcommand(certs::command())
        .subcommand(crate::demo::command())
}

/// `--output human|json`, for the commands that report.
pub(crate) fn output_argument() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .value_parser(["human", "json"])
        .default_value("human")
        .action(ArgAction::Set)
        .help("For people, or one JSON object for programs")
}
