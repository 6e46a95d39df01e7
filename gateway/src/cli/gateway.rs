//! `postern gateway`: the data plane.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use xds::source::dir;

use super::settings::{config_flag, flag, layers, refuse};
use super::{EXIT_FAILED, EXIT_USAGE, output};
use crate::app;
use crate::config::{Config, GATEWAY_SETTINGS, SourceConfig};
use crate::telemetry;

const AFTER_HELP: &str = "Each setting can also be given in the environment (POSTERN_CERT_CACHE for --cert-cache; lists \
are separated by commas) and in the YAML file of --config (cert-cache: 64MiB). Flags beat the environment, which beats \
the file, which beats the ConfigMap config-postern (and Kourier's config-kourier).\n\nSettings that a ConfigMap can \
change while the gateway runs are marked [live]; those marked [next start] it can set for the next start. \
/api/v1/settings on the admin listener shows what is in effect, and where it comes from.\n\nExit codes: 0 drained, 1 failed, 64 wrong \
configuration, or a directory of manifests that cannot be read.";

/// The subcommand and its flags, made from the table of settings.
pub(super) fn command() -> Command {
    let flags = GATEWAY_SETTINGS.iter().map(flag);
    Command::new("gateway")
        .about("Serves traffic as the objects of a source say")
        .after_help(AFTER_HELP)
        // The last of several wins, so that a wrapper's flags can be overridden.
        .args_override_self(true)
        .args(flags)
        .arg(config_flag())
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in effect and where each comes from, and exit"),
        )
}

/// Runs until a signal or an operator ends it.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let layers = match layers(matches, []) {
        Ok(layers) => layers,
        Err(faults) => return refuse("gateway", &faults),
    };
    let config = match Config::resolve(&layers) {
        Ok(config) => config,
        Err(faults) => return refuse("gateway", &faults),
    };
    if matches.get_flag("print-config") {
        let settings = GATEWAY_SETTINGS.iter().map(|setting| layers.effective(setting));
        let lines = settings.map(|it| format!("{}: {} # {}\n", it.name, it.values.join(", "), it.origin));
        return output::print(&lines.collect::<String>(), ExitCode::SUCCESS);
    }
    // Before a port is open: what asks whether this gateway is there should not find one that is about to end.
    if let SourceConfig::Dir(path) = &config.source
        && let Err(error) = dir::look(path)
    {
        eprintln!("error: {}", xds::causes(&error));
        return ExitCode::from(EXIT_USAGE);
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
