//! A server that was started, with all its processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postern_tests::gateway::Usage;
use postern_tests::patience::eventually;
use postern_tests::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The process and its children; ended on drop.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    pids: Vec<Pid>,
}

/// Memory and CPU time of all processes of a server, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Used(Vec<Usage>);

impl Process {
    /// Starts a server. What it prints goes to this file.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let output = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let child =
            command.spawn().map_err(|error| format!("{}: {error}; see .ci/install-peers", program.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or("the process has no id")?;
        Ok(Self { child, log: log.to_owned(), pids: vec![pid] })
    }

    /// Waits until a probe succeeds, and finds the children that are there then.
    pub(super) async fn ready(&mut self, probe: impl AsyncFn() -> Result<()>) -> Result<()> {
        let ready = eventually("a server serves", async || match self.child.try_wait()? {
            Some(status) => Ok(Err(Error::from(format!("a server ended: {status}")))),
            None => probe().await.map(Ok),
        });
        let ready = ready.await.flatten();
        ready.map_err(|error| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("{}: {error}\n{log}", self.log.display())
        })?;
        self.adopt()
    }

    fn adopt(&mut self) -> Result<()> {
        let mut next = 0;
        while let Some(pid) = self.pids.get(next).copied() {
            self.pids.extend(children(pid)?);
            next += 1;
        }
        Ok(())
    }

    /// Memory and CPU time of its processes.
    pub(super) fn used(&self) -> Result<Used> {
        Ok(Used(self.pids.iter().map(|pid| Usage::of(*pid)).collect::<Result<_>>()?))
    }
}

impl Used {
    /// This, and what others have used.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// CPU time since an earlier moment.
    pub(super) fn cpu_since(&self, earlier: &Self) -> Duration {
        self.0.iter().zip(&earlier.0).map(|(now, before)| now.cpu_since(before)).sum()
    }

    /// Bytes that are of no file, of all processes together: what connections take.
    pub(super) fn anonymous(&self) -> u64 {
        self.0.iter().map(|usage| usage.anonymous).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A child that outlives its parent is ended as well; those that have ended are no error.
        for pid in &self.pids {
            let _ended = kill_process(*pid, Signal::KILL);
        }
    }
}

/// Memory and CPU time of one process.
pub(super) fn used_by(pid: Pid) -> Result<Used> {
    Ok(Used(vec![Usage::of(pid)?]))
}

/// The children of a process (proc(5), `/proc/PID/task/TID/children`).
fn children(pid: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        let pids = text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        found.extend(pids);
    }
    Ok(found)
}
