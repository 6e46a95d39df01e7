//! `postern certs`: what a running gateway's certificate cache holds and does, asked of its admin listener.

mod ask;
mod print;

use std::process::ExitCode;

use certstore::SniPattern;
use clap::{Arg, ArgMatches, Command};
use http::StatusCode;
use serde_json::Value;

use super::{EXIT_FAILED, EXIT_USAGE, output, output_argument};
use crate::config::parse_cache_size;
use ask::{Admin, AskError};

/// Certificates that are asked for at a time.
const PAGE: usize = 1000;

/// The subcommand and its own.
pub(super) fn command() -> Command {
    Command::new("certs")
        .about("Shows and tunes the certificate cache of a running gateway")
        .after_help(
            "Talks to the admin listener, which is on loopback only; from elsewhere, forward it: kubectl port-forward \
             deployment/postern 9901\n\nExit codes: 0 done, 1 failed or not found, 64 wrong arguments.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("admin")
                .long("admin")
                .global(true)
                .value_name("ADDR")
                .env("POSTERN_ADMIN")
                .default_value("127.0.0.1:9901")
                .help("The gateway's admin listener, as HOST:PORT"),
        )
        .arg(output_argument().global(true))
        .subcommand(Command::new("list").about("The certificates that are cached, by Secret, and the Secrets that are refused"))
        .subcommand(
            Command::new("show")
                .about("What a handshake for a server name is answered with, and why")
                .arg(Arg::new("host").value_name("HOST").required(true).value_parser(host).help("The server name, as a client sends it")),
        )
        .subcommand(Command::new("stats").about("What the cache holds, and what it did since the gateway began"))
        .subcommand(
            Command::new("advise")
                .about("What other budgets would bring, simulated from the use of the last hours")
                .after_help(
                    "For each budget: the share of certificates that would be found in the cache, and how long the slowest \
                     hundredth of handshakes would wait for theirs at least.",
                ),
        )
        .subcommand(
            Command::new("budget")
                .about("Changes how many bytes cached certificates may have, until the gateway ends or its setting changes")
                .arg(
                    Arg::new("size")
                        .value_name("SIZE|reset")
                        .required(true)
                        .value_parser(size)
                        .help("For example 32MiB; reset goes back to what the setting cert-cache says"),
                ),
        )
}

fn size(text: &str) -> Result<String, String> {
    if text != "reset" {
        parse_cache_size(text)?;
    }
    Ok(text.to_owned())
}

/// A server name, or the pattern of a wildcard.
fn host(text: &str) -> Result<String, String> {
    let what = match text.split_once(':') {
        Some((_, rest)) if rest.starts_with("//") => "a URL",
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => "a name with a port",
        _ => {
            let pattern = SniPattern::try_from(text).map_err(|error| error.to_string())?;
            return Ok(pattern.to_string());
        }
    };
    Err(format!("is {what}; a client sends the name alone, for example shop.example.com"))
}

/// Asks and prints.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    let address: &String = matches.get_one("admin").expect("it has a default");
    let admin = match Admin::new(address) {
        Ok(admin) => admin,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let answer = match name {
        "list" => all_certificates(&admin),
        "show" => admin.get(&format!("/api/v1/certificates/{}", argument(matches, "host"))),
        "stats" => admin.get("/api/v1/cache"),
        "advise" => admin.get("/api/v1/cache/advice"),
        "budget" => admin.post("/api/v1/cache/budget", argument(matches, "size")),
        _ => unreachable!("clap knows no other"),
    };
    match answer {
        Ok(answer) => output::print(&in_words(matches, name, &answer), ExitCode::SUCCESS),
        Err(AskError::NotFound(answer)) => {
            output::print(&in_words(matches, name, &answer), ExitCode::from(EXIT_FAILED))
        }
        Err(error) => fail(&error, EXIT_FAILED),
    }
}

fn argument<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).expect("clap requires it")
}

/// All pages of the list. What comes and goes meanwhile may be missing, or be there twice.
fn all_certificates(admin: &Admin) -> Result<Value, AskError> {
    let mut all = Vec::new();
    loop {
        let page = admin.get(&format!("/api/v1/certificates?limit={PAGE}&offset={}", all.len()))?;
        let Value::Array(mut page) = page else { return Err(AskError::NoGateway("the list is none".to_owned())) };
        let is_last = page.len() < PAGE;
        all.append(&mut page);
        if is_last {
            break;
        }
    }
    all.extend(refused(admin)?);
    Ok(Value::Array(all))
}

/// Secrets that are refused, as far as nothing of them is in the list.
fn refused(admin: &Admin) -> Result<Vec<Value>, AskError> {
    let faults = match admin.get("/api/v1/secrets/faults") {
        // A gateway of an earlier version does not tell.
        Err(AskError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => return Ok(Vec::new()),
        faults => faults?,
    };
    let Value::Array(faults) = faults else { return Err(AskError::NoGateway("the list is none".to_owned())) };
    let is_unserved = |fault: &Value| fault["refused"]["serving"] == "nothing";
    Ok(faults.into_iter().filter(is_unserved).collect())
}

/// An answer as it is printed.
fn in_words(matches: &ArgMatches, name: &str, answer: &Value) -> String {
    if matches.get_one::<String>("output").is_some_and(|format| format == "json") {
        return format!("{answer:#}\n");
    }
    match name {
        "list" => print::list(answer),
        "show" => print::show(answer),
        "advise" => print::advice(answer),
        "budget" => print::budget(answer),
        _ => print::stats(answer),
    }
}

fn fail(error: &AskError, code: u8) -> ExitCode {
    eprintln!("error: {}", xds::causes(error));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_server_name_and_nothing_around_it() {
        for (text, host_is) in [("shop.test", "shop.test"), ("SHOP.test.", "shop.test"), ("*.shop.test", "*.shop.test")]
        {
            assert_eq!(host(text), Ok(host_is.to_owned()), "{text}");
        }
        for (text, says) in [
            ("a b", "a b"),
            ("a/b?x", "a/b?x"),
            ("", "0 characters"),
            ("192.0.2.1", "IP address"),
            ("::1", "::1"),
            ("shop.test:443", "a port"),
            ("https://shop.test/", "a URL"),
            ("shop.test/..%2fcache", "shop"),
        ] {
            let message = host(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
