//! `postern gateway`: the data plane.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use xds::settings::Effect;

use super::{EXIT_FAILED, EXIT_USAGE};
use crate::app;
use crate::config::{Config, ConfigFault, GATEWAY_SETTINGS, Layers, Setting};
use crate::telemetry;

const AFTER_HELP: &str = "Each setting can also be given in the environment (POSTERN_CERT_CACHE for --cert-cache; lists \
are separated by commas) and in the YAML file of --config (cert-cache: 64MiB). Flags beat the environment, which beats \
the file, which beats the ConfigMap config-postern (and Kourier's config-kourier).\n\nSettings that a ConfigMap can \
change while the gateway runs are marked [live]; those marked [next start] it can set for the next start. \
/api/v1/settings on the admin listener shows what is in effect, and where it comes from.\n\nExit codes: 0 drained, 1 failed, 64 wrong configuration.";

/// The subcommand and its flags, made from the table of settings.
pub(super) fn command() -> Command {
    let flags = GATEWAY_SETTINGS.iter().map(flag);
    Command::new("gateway")
        .about("Serves traffic as the objects of a source say")
        .after_help(AFTER_HELP)
        // The last of several wins, so that a wrapper's flags can be overridden.
        .args_override_self(true)
        .args(flags)
        .arg(Arg::new("config").long("config").value_name("FILE").help("A YAML file with settings (or POSTERN_CONFIG)"))
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in effect and where each comes from, and exit"),
        )
}

fn flag(setting: &'static Setting) -> Arg {
    let action = if setting.list { ArgAction::Append } else { ArgAction::Set };
    let default = match (setting.default, setting.list) {
        ("", true) => " [can be repeated]".to_owned(),
        ("", false) => String::new(),
        (default, true) => format!(" [can be repeated; default: {default}]"),
        (default, false) => format!(" [default: {default}]"),
    };
    let effect = match setting.effect {
        Effect::Now => " [live]",
        Effect::NextStart => " [next start]",
        Effect::Never => "",
    };
    Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value_name)
        .action(action)
        .help(format!("{}{default}{effect}", setting.help))
}

/// Runs until a signal or an operator ends it.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let layers = match layers(matches) {
        Ok(layers) => layers,
        Err(faults) => return refuse(&faults),
    };
    let config = match Config::resolve(&layers) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    if matches.get_flag("print-config") {
        for setting in GATEWAY_SETTINGS.iter().map(|setting| layers.effective(setting)) {
            println!("{}: {} # {}", setting.name, setting.values.join(", "), setting.origin);
        }
        return ExitCode::SUCCESS;
    }
    let log = telemetry::init_logs(config.log_format, &config.log_level);
    match app::run(config, layers, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", xds::causes(&error));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn layers(matches: &ArgMatches) -> Result<Layers, Vec<ConfigFault>> {
    let mut flags = BTreeMap::new();
    for setting in GATEWAY_SETTINGS {
        if let Some(values) = matches.get_many::<String>(setting.name) {
            flags.insert(setting.name.to_owned(), values.cloned().collect());
        }
    }
    let environment = |name: &str| std::env::var(name).ok();
    let layers = Layers::default().with_flags(flags).with_environment(GATEWAY_SETTINGS, environment);
    let file = matches.get_one::<String>("config").cloned().or_else(|| environment("POSTERN_CONFIG"));
    match file {
        None => Ok(layers),
        Some(path) => layers.with_file(GATEWAY_SETTINGS, &read(Path::new(&path))?),
    }
}

fn read(path: &Path) -> Result<String, Vec<ConfigFault>> {
    std::fs::read_to_string(path).map_err(|error| {
        vec![ConfigFault {
            place: path.display().to_string(),
            message: format!("cannot be read: {error}"),
            about: None,
        }]
    })
}

fn refuse(faults: &[ConfigFault]) -> ExitCode {
    for fault in faults {
        eprintln!("error: {fault}");
    }
    eprintln!("See `postern gateway --help`.");
    ExitCode::from(EXIT_USAGE)
}
