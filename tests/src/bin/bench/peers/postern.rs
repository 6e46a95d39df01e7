//! Postern as a peer: the build under test, or an earlier one.

use std::ffi::OsString;
use std::path::Path;

use postern_tests::Result;
use postern_tests::gateway::LISTENERS;
use postern_tests::manifests::{KIngress, PathRule, Rule, Service, Split, secret, to_yaml};
use tokio::process::Command;

use super::directory::HOST;
use super::peer::Layout;
use super::routes::Route;
use crate::GATEWAY;

const NAMESPACE: &str = "bench";

/// All clients have one address, which must not matter.
const LIMITS: [&str; 2] = ["--max-connections=20000", "--max-connections-per-client=20000"];

/// One thread. Without a program it is this executable.
pub(super) fn peer(program: Option<&Path>, name: &str, layout: &Layout<'_>) -> Result<Command> {
    let manifests = format!("{name}.d");
    layout.directory.write(&format!("{manifests}/site.yaml"), objects(layout)?)?;
    let mut command = if let Some(program) = program {
        Command::new(program)
    } else {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(GATEWAY);
        command
    };
    let mut source = OsString::from("dir:");
    source.push(layout.directory.path(&manifests));
    command.args(["gateway", "--threads=1", "--log-level=warn", "--memory-limit=off", "--source"]).arg(source);
    command.args(LIMITS).arg(format!("--access-log={}", if layout.log.is_some() { "on" } else { "off" }));
    for listener in LISTENERS {
        let address = if listener == "external-https" { layout.https.to_string() } else { "off".to_owned() };
        command.arg("--listen").arg(format!("{listener}={address}"));
    }
    Ok(command)
}

fn objects(layout: &Layout<'_>) -> Result<String> {
    let (mut objects, mut rule) = (Vec::new(), Rule::external(&[HOST]));
    for Route { name, prefix, upstream, http2, .. } in layout.routes {
        let port = if *http2 { "h2c" } else { "http" };
        objects.extend(Service::new(NAMESPACE, name).port_name(port).endpoint(*upstream).objects());
        rule = rule.path(PathRule::prefix(prefix).split(Split::new(name, 100)));
    }
    objects.push(KIngress::new(NAMESPACE, "bench").tls(&[HOST], "bench").rule(rule).object());
    objects.push(secret(NAMESPACE, "bench", &layout.directory.certificate));
    to_yaml(&objects)
}
