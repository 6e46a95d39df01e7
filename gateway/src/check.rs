//! `postern check`: what a directory of manifests would do, and every fault in it.

mod certificates;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use xds::source::dir::{self, DirSource};
use xds::translate::{self, Translator};
use xds::{Faults, ObjectEvent, Update};

use crate::cli::{EXIT_FAILED, EXIT_USAGE, output_argument};
use report::Report;

/// The subcommand and its flags.
pub(crate) fn command() -> Command {
    Command::new("check")
        .about("Says what a directory of manifests would do, and every fault in it")
        .after_help("Exit codes: 0 without faults, 1 with faults, 64 when PATH cannot be read.")
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The directory, as in --source dir:PATH"),
        )
        .arg(output_argument())
}

/// Checks and prints.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let path: &PathBuf = matches.get_one("path").expect("clap requires it");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let report = match runtime.block_on(check(path)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {}", xds::causes(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if matches.get_one::<String>("output").is_some_and(|format| format == "json") {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

async fn check(path: &Path) -> Result<Report, dir::OpenError> {
    let faults = Faults::default();
    let mut source = DirSource::open(path, dir::Options::default(), faults.clone())?;
    let options = translate::Options { report_unknown_class: true, ..translate::Options::default() };
    let update = translate_all(&mut source, Translator::new(options, faults.clone())).await;
    let certificates = certificates::inspect(&update, &source.secrets());
    Ok(Report::new(update, certificates, &faults))
}

/// One Update with everything that the directory says.
async fn translate_all(source: &mut DirSource, mut translator: Translator) -> Update {
    loop {
        let mut synced = false;
        for event in source.next().await {
            synced |= event == ObjectEvent::Synced;
            translator.accept(event);
        }
        if synced {
            return translator.flush().unwrap_or_default();
        }
    }
}
