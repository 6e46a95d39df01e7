//! A process that takes a line of JSON at a time and answers each with a line of JSON.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Result;

/// The process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Conversation {
    /// What errors call it.
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    /// Starts a program. What it has to say first is heard with [`Self::hear`].
    pub fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().ok_or("stdin is not piped")?;
        let output = BufReader::new(child.stdout.take().ok_or("stdout is not piped")?).lines();
        Ok(Self { name, child, input, output })
    }

    /// The process id; `None` once it has been waited for.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    /// Says something and waits for the answer.
    pub async fn ask(&mut self, what: &impl Serialize, patience: Duration) -> Result<Value> {
        self.input.write_all(format!("{}\n", serde_json::to_string(what)?).as_bytes()).await?;
        self.hear(patience).await
    }

    /// Waits for the next line.
    pub async fn hear(&mut self, patience: Duration) -> Result<Value> {
        let name = self.name;
        let line = timeout(patience, self.output.next_line()).await;
        let line = line.map_err(|_| format!("the {name} has not answered for {patience:?}"))??;
        Ok(serde_json::from_str(&line.ok_or_else(|| format!("the {name} has ended"))?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_heard_and_its_end_is_an_error_with_its_name() {
        let mut cat = Conversation::start("cat", Command::new("cat")).unwrap();
        let said = serde_json::json!({"hello": 1});
        assert_eq!(cat.ask(&said, Duration::from_secs(20)).await.unwrap(), said);
        let mut gone = Conversation::start("silent one", Command::new("true")).unwrap();
        let error = gone.hear(Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(error.contains("the silent one has ended"), "{error}");
    }
}
