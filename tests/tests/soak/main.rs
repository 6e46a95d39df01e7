//! A short soak with small numbers, as a first look at every change; the long one is run by hand.

use std::process::{Output, Stdio};
use std::time::Duration;

use postern_tests::patience::eventually;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A run of less than a minute, its start included, ends within this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

async fn soak(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.envs(environment.iter().copied());
    command.args(["--output", "json"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
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
    let last = run["series"].as_array().unwrap().last().unwrap();
    assert!(last["gateway"]["working_set"].as_f64().unwrap() > 1e6, "{last:#}");
    for kind in ["hit", "miss", "resumed"] {
        assert!(run["handshakes"][kind]["count"].as_u64().unwrap() > 0, "no {kind}: {:#}", run["handshakes"]);
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    let page = std::fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("https://"));
}

#[tokio::test]
async fn bursts_of_renewals_are_measured_with_certificates_that_are_cached_and_that_are_not() {
    let arguments =
        ["--services=200", "--duration=32s", "--limit=300MiB", "--cert-cache=4MiB", "--only=burst", "--burst=60"];
    let (output, report) = soak(&arguments, &[]).await;
    let verdict = &report["runs"][0]["verdict"];
    assert!(output.status.success(), "{verdict:#}");
    let bursts = verdict["bursts"].as_array().unwrap();
    let cached: Vec<_> = bursts.iter().map(|burst| burst["cached"].as_f64().unwrap()).collect();
    assert!(matches!(cached[..], [first, second] if first <= 0.1 && second >= 0.9), "{cached:?}");
    assert!(bursts.iter().all(|burst| burst["renewals"] == 60 && burst["cpu_millis"].as_f64().unwrap() > 0.0));
    assert_eq!(check(&report, "little memory for bursts")["passed"], true);
}

/// A gateway with so little memory that it closes and refuses from the beginning on: it declares that, and so nothing has
/// failed, but nobody would call it a gateway that holds.
#[tokio::test]
async fn a_gateway_that_refuses_as_it_declares_fails_nothing_and_does_not_pass() {
    let arguments = [
        "--services=50",
        "--duration=20s",
        "--limit=300MiB",
        "--only=traffic",
        "--rate=10",
        "--websockets=0",
        "--idle=0",
        "--downloads=0",
        "--",
        "--memory-limit=32MiB",
    ];
    let (output, report) = soak(&arguments, &[]).await;
    let run = &report["runs"][0];
    assert_eq!(output.status.code(), Some(1));
    assert!(run["refused"]["handshake"].as_u64().unwrap_or_default() > 0, "{run:#}");
    for name in ["no failed handshake", "no 5xx", "no broken request", "refusals are counted"] {
        assert_eq!(check(&report, name)["passed"], true, "{name}: {:#}\n{:#}", run["verdict"], run["examples"]);
    }
    assert_eq!(check(&report, "few refusals")["passed"], false, "{:#}", run["verdict"]);
}

#[tokio::test]
async fn an_interrupted_soak_reports_what_it_has_and_leaves_nothing_behind() {
    let (directory, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.env("TMPDIR", scratch.path());
    command.args(["--services=20", "--duration=10m", "--only=traffic", "--rate=5", "--websockets=1", "--idle=1"]);
    command.args(["--output=json", "--report"]).arg(directory.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = child.unwrap();
    let soak = child.id().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = async {
        while let Some(line) = progress.next_line().await.unwrap() {
            if line.contains("handshakes/s") {
                return;
            }
        }
        panic!("it has ended by itself");
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("progress");
    let others = children(soak);
    assert_eq!(others.len(), 3, "gateway, cluster and load: {others:?}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(soak).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = check(&report, "ran for its time");
    assert!(check["passed"] == false && check["seen"].as_str().unwrap().starts_with("interrupted"), "{check:#}");
    assert!(directory.path().join("report.html").exists());
    for process in others {
        let gone = async || {
            let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // One that has ended stays until its parent, now init, has asked for its status.
            let is_gone = state.is_empty() || state.contains(") Z ");
            postern_tests::ensure(is_gone, || format!("process {process} is still there: {state}"))
        };
        eventually("all processes are gone", gone).await.unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} are left");
    let group = format!("/sys/fs/cgroup/memory/postern-soak-{soak}");
    assert!(!std::path::Path::new(&group).exists() && !std::path::Path::new(&group.replace("memory/", "")).exists());
}

/// Processes that a process has started and that are still there.
fn children(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).expect("a process with threads");
    let list = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.expect("a thread").path().join("children")).unwrap_or_default()
    };
    let ids: Vec<String> = threads.map(list).collect();
    ids.join(" ").split_whitespace().map(|id| id.parse().expect("a process id")).collect()
}

#[tokio::test]
async fn a_soak_that_cannot_begin_says_why_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let report = file.path().to_str().unwrap();
    for (arguments, words) in [
        (&["--report", report][..], report),
        (&["--peer=envoy", "--envoy=/nowhere/envoy"][..], "/nowhere/envoy: No such file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
        command.args(["--services=10", "--duration=1s"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(words), "{stderr}");
    }
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
