//! Programs that are none of ours, where they are installed: `openssl s_client`, `curl` and clients in other languages, `kubectl`
//! and `helm` to render manifests, `kube-apiserver` and `etcd` to be followed.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::Result;
use crate::patience::PATIENCE;

/// Whether a tool can be run. Says so loudly if it can't, so that nobody takes the case for passed.
pub async fn installed(tool: &str) -> bool {
    let version: &[&str] = match tool {
        "openssl" | "helm" | "go" => &["version"],
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

/// Returns `true` if Python has a module; says so loudly if it does not.
pub async fn has_python_module(module: &str) -> bool {
    let import = format!("import {module}");
    let has = run("python3", &["-c", &import]).await.is_ok_and(|ran| ran.status.success());
    if !has {
        eprintln!("SKIPPED: python3 has no module {module}");
    }
    has
}

/// Runs a tool with an empty standard input.
pub async fn run(tool: &str, arguments: &[&str]) -> Result<Output> {
    run_within(PATIENCE, tool, arguments).await
}

/// [`run`], for one that takes longer, such as a compiler.
pub async fn run_within(patience: Duration, tool: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output()).await;
    Ok(output.map_err(|_| format!("{tool} did not end"))??)
}
