//! `postern check`: what a directory of manifests would do, and every fault in it.

mod annotations;
mod certificates;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use xds::settings::Reader;
use xds::source::dir::{self, DirSource};
use xds::translate::Translator;
use xds::translate::ingress_nginx::Survey;
use xds::{Faults, ObjectEvent, Update};

use crate::app;
use crate::cli::settings::{config_flag, flag, layers, refuse};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, output, output_argument};
use crate::config::{Config, GATEWAY_SETTINGS, Layers, MapSchema, Setting};
use annotations::Annotations;
use report::{Report, Settings};

/// The settings of a gateway that decide what manifests do.
const SETTINGS: [&str; 8] = [
    "own-namespace",
    "knative-namespace",
    "kingress-class",
    "ingress-controller",
    "ingress-class",
    "https-redirect",
    "accept-unsupported",
    "shared-secret-namespaces",
];

/// The subcommand and its flags.
pub(crate) fn command() -> Command {
    let deciding = |setting: &&Setting| SETTINGS.contains(&setting.name);
    Command::new("check")
        .about("Says what a directory of manifests would do, and every fault in it")
        .after_help(
            "Settings are read as `postern gateway` reads them, from flags, the environment and the file.\n\n\
             Exit codes: 0 without faults, 1 with faults, 64 when PATH cannot be read or a setting is wrong.",
        )
        .args_override_self(true)
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The directory, as in --source dir:PATH"),
        )
        .args(GATEWAY_SETTINGS.iter().filter(deciding).map(flag))
        .arg(Arg::new("class").long("class").value_name("NAME").help(
            "The same as --ingress-class: what would become of the Ingresses of another controller's class, such as nginx",
        ))
        .arg(config_flag())
        .arg(output_argument())
}

/// Checks and prints.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let path: &PathBuf = matches.get_one("path").expect("clap requires it");
    let source = ("source".to_owned(), vec![format!("dir:{}", path.display())]);
    let class = matches.get_one::<String>("class").map(|class| ("ingress-class".to_owned(), vec![class.clone()]));
    let resolved =
        layers(matches, [source].into_iter().chain(class)).and_then(|layers| Ok((Config::resolve(&layers)?, layers)));
    let (config, layers) = match resolved {
        Ok(resolved) => resolved,
        Err(faults) => return refuse("check", &faults),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let report = match runtime.block_on(check(path, &config, layers)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {}", xds::causes(&error));
            return ExitCode::from(if error.is_about_path() { EXIT_USAGE } else { EXIT_FAILED });
        }
    };
    let is_json = matches.get_one::<String>("output").is_some_and(|format| format == "json");
    let text = if is_json { format!("{:#}\n", report.to_json()) } else { report.to_string() };
    let code = if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) };
    output::print(&text, code)
}

async fn check(path: &Path, config: &Config, layers: Layers) -> Result<Report, dir::OpenError> {
    let faults = Faults::default();
    let mut source = DirSource::open(path, dir::Options::default(), faults.clone())?;
    let schema = MapSchema::new(layers.clone());
    let (mut reader, values) = Reader::new(app::source::config_maps(config), Box::new(schema), faults.clone());
    reader.read_environment(|name| std::env::var(name).ok());
    let mut translator = Translator::new(app::translate_options(config), faults.clone());
    translator.withhold(reader.withheld());
    let (update, annotations) = translate_all(&mut source, translator, &mut reader).await;
    let certificates = certificates::inspect(&update, &source.secrets());
    let settings = Settings::new(layers, &values.borrow(), &reader);
    Ok(Report::new(update, certificates, annotations, settings, &faults))
}

/// One Update with everything that the directory says, and what ingress-nginx's annotations come to; the reader is shown
/// it too.
async fn translate_all(
    source: &mut DirSource,
    mut translator: Translator,
    reader: &mut Reader,
) -> (Update, Annotations) {
    let mut survey = Survey::default();
    loop {
        let mut synced = false;
        let events = source.next().await;
        reader.read(&events);
        for event in events {
            synced |= event == ObjectEvent::Synced;
            survey.note(&event);
            translator.accept(event);
        }
        if synced {
            let update = translator.flush().unwrap_or_default();
            return (update, Annotations::new(&survey, &translator));
        }
    }
}
