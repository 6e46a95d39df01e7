//! `postern demo`: the whole idea with nothing prepared, and nothing left behind.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use postern_tests::patience::{PATIENCE, eventually};
use postern_tests::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A demonstration that runs, and what it prints.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    /// Starts one that keeps its directory in `folder`.
    fn start(folder: &Path, more: &[&str]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern-under-test"));
        command.args(["demo", "--services", "12"]).args(more).env("TMPDIR", folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("stdout is not piped")?).lines();
        Ok(Self { child, lines })
    }

    /// Reads on until a line contains this.
    async fn until(&mut self, text: &str) -> Result<String> {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            Err(format!("the demonstration ended without {text:?}").into())
        });
        found.await.map_err(|_| format!("never printed: {text}"))?
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or("it has ended")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end, reading what it still prints. True if it says that it went well.
    async fn ended(mut self) -> Result<bool> {
        let ending = async {
            while self.lines.next_line().await?.is_some() {}
            Result::Ok(self.child.wait().await?.success())
        };
        timeout(PATIENCE, ending).await.map_err(|_| "the demonstration did not end")?
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(folder)?.next().is_none())
}

#[tokio::test]
async fn a_demonstration_serves_renews_and_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut demo = Demo::start(folder.path(), &["--duration", "4s"])?;
    demo.until("curl --cacert").await?;
    let line = demo.until("services 12 | RSS").await?;
    assert!(line.contains("| cached "), "{line}");
    demo.until("stopping").await?;
    let summary = demo.until("requests").await?;
    assert!(summary.contains(" 0 failed") && !summary.contains("renewed 0"), "{summary}");
    assert!(demo.ended().await?);
    assert!(is_empty(folder.path())?);
    Ok(())
}

#[tokio::test]
async fn an_interrupt_ends_a_demonstration_and_cleans_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut demo = Demo::start(folder.path(), &[])?;
    demo.until("Ctrl-C stops it").await?;
    demo.signal(Signal::INT)?;
    assert!(demo.ended().await?);
    assert!(is_empty(folder.path())?);
    Ok(())
}

#[tokio::test]
async fn what_a_killed_demonstration_leaves_is_removed_by_the_next() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut killed = Demo::start(folder.path(), &[])?;
    let line = killed.until("(gateway: process ").await?;
    let gateway = line.split("process ").nth(1).and_then(|rest| rest.split(')').next()).ok_or("no process")?.to_owned();
    killed.signal(Signal::KILL)?;
    assert!(!killed.ended().await?);
    assert!(!is_empty(folder.path())?);
    eventually("the gateway ends with the demonstration", async || {
        // A process that nobody has waited for has no command line.
        let command = std::fs::read(format!("/proc/{gateway}/cmdline")).unwrap_or_default();
        ensure(command.is_empty(), || "it runs".to_owned())
    })
    .await?;
    let next = Demo::start(folder.path(), &["--duration", &format!("{:?}", Duration::from_secs(1))])?;
    assert!(next.ended().await?);
    assert!(is_empty(folder.path())?);
    Ok(())
}
