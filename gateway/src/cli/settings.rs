//! Settings as flags, made from their table, and what the command line, the environment and a file say of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use xds::settings::Effect;

use super::EXIT_USAGE;
use crate::config::{ConfigFault, GATEWAY_SETTINGS, Layers, Setting};

/// The flag of a setting.
pub(crate) fn flag(setting: &'static Setting) -> Arg {
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

/// The flag that names a file with settings.
pub(crate) fn config_flag() -> Arg {
    Arg::new("config").long("config").value_name("FILE").help("A YAML file with settings (or POSTERN_CONFIG)")
}

/// What the flags that a subcommand has, the environment and the file say. `more` are flags too.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn layers(
    matches: &ArgMatches,
    more: impl IntoIterator<Item = (String, Vec<String>)>,
) -> Result<Layers, Vec<ConfigFault>> {
    let mut flags = BTreeMap::from_iter(more);
    for setting in GATEWAY_SETTINGS {
        // An error says that this subcommand does not have the flag.
        if let Ok(Some(values)) = matches.try_get_many::<String>(setting.name) {
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

/// Says everything that is wrong with the settings of a subcommand.
pub(crate) fn refuse(subcommand: &str, faults: &[ConfigFault]) -> ExitCode {
    for fault in faults {
        eprintln!("error: {fault}");
    }
    eprintln!("See `postern {subcommand} --help`.");
    ExitCode::from(EXIT_USAGE)
}
