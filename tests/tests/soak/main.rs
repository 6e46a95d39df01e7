//! A short soak with small numbers, as a first look at every change; the long one is run by hand.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// A run of less than a minute, its start included, ends within this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

async fn soak(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.envs(environment.iter().copied());
    command.args(arguments).args(["--output", "json"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an end in time").expect("an output");
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text);
    let report =
        report.unwrap_or_else(|error| panic!("{error} in {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["runs"][0]["verdict"]["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).expect(name)
}

#[tokio::test]
async fn a_short_soak_with_all_kinds_of_load_passes_and_writes_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report");
    let arguments = [
        "--services=300",
        "--duration=40s",
        "--limit=300MiB",
        "--cert-cache=256KiB",
        "--rate=15",
        "--websockets=5",
        "--idle=20",
        "--downloads=2",
        "--staleness=10s",
        "--report",
        path.to_str().unwrap(),
    ];
    let (output, report) = soak(&arguments, &[]).await;
    let run = &report["runs"][0];
    assert!(output.status.success(), "{:#}\n{:#}", run["verdict"], run["examples"]);
    let count = |name: &str| run["counts"][name].as_u64().unwrap_or_default();
    for kind in ["full-handshakes", "resumed-handshakes", "requests", "echoes", "downloads", "scans-refused", "attacks"]
    {
        assert!(count(kind) > 0, "no {kind}: {:#}", run["counts"]);
    }
    assert_eq!(check(&report, "no OOM kill")["passed"], true);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    let page = std::fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("https://"));
}

#[tokio::test]
async fn a_gateway_that_is_killed_for_its_memory_fails_the_soak() {
    let arguments = [
        "--services=300",
        "--duration=30s",
        "--limit=10MiB",
        "--only=traffic",
        "--rate=20",
        "--websockets=0",
        "--idle=0",
        "--downloads=0",
    ];
    // Left to itself it would shed load instead.
    let (output, report) = soak(&arguments, &[("POSTERN_MEMORY_LIMIT", "off")]).await;
    if report["runs"][0]["limit_not_enforced"].is_string() {
        eprintln!("SKIPPED: no permission to make a memory control group");
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(check(&report, "no OOM kill")["passed"], false, "{:#}", report["runs"][0]["verdict"]);
}
