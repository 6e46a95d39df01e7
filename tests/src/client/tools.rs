//! Clients that are none of ours: `openssl s_client` and `curl`, where they are installed.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::Result;
use crate::patience::PATIENCE;

/// Whether a tool can be run. Says so loudly if it can't, so that nobody takes the case for passed.
pub async fn installed(tool: &str) -> bool {
    let version = if tool == "openssl" { "version" } else { "--version" };
    let there =
        Command::new(tool).arg(version).stdin(Stdio::null()).output().await.is_ok_and(|ran| ran.status.success());
    if !there {
        // A skipped case must be seen.
        eprintln!("SKIPPED: {tool} is not installed");
    }
    there
}

/// Runs a tool with an empty standard input.
pub async fn run(tool: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    Ok(output.map_err(|_| format!("{tool} did not end"))??)
}
