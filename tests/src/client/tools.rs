//! Programs that are none of ours, where they are installed: `openssl s_client` and `curl` as clients, `kubectl` and
//! `helm` to render manifests, `kube-apiserver` and `etcd` to be followed.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::Result;
use crate::patience::PATIENCE;

/// Whether a tool can be run. Says so loudly if it can't, so that nobody takes the case for passed.
pub async fn installed(tool: &str) -> bool {
    let version: &[&str] = match tool {
        "openssl" | "helm" => &["version"],
        "kubectl" => &["version", "--client"],
        _ => &["--version"],
    };
    let ran = Command::new(tool).args(version).stdin(Stdio::null()).output().await;
    let there = ran.is_ok_and(|ran| ran.status.success());
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
