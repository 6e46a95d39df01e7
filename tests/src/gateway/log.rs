//! What a gateway prints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::JoinHandle;

use crate::Result;

/// How many lines are shown of a log that may say why something failed.
const TAIL: usize = 200;

/// The lines that a process has printed, shared with the tasks that read them.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

/// One line of structured log.
#[derive(Clone, Debug)]
pub struct Entry(Value);

impl Log {
    /// Reads a stream to its end, in the background. The task ends when all of it is here.
    pub(super) fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }

    /// All lines, in the order in which they were read.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The last lines, for people, with a heading that says how many there are in all.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        format!("the gateway's log, last {} of {} lines:\n{}", last.len(), lines.len(), last.join("\n"))
    }

    /// The lines that are JSON objects.
    pub fn entries(&self) -> Vec<Entry> {
        let lines = self.lines();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).map(Entry).collect()
    }

    /// The first entry with this message.
    pub fn find(&self, message: &str) -> Option<Entry> {
        self.entries().into_iter().find(|entry| entry.field("message") == Some(message))
    }

    /// True if some line contains all of these texts.
    pub fn has_line_with(&self, texts: &[&str]) -> bool {
        self.lines().iter().any(|line| texts.iter().all(|text| line.contains(text)))
    }

    /// Listeners and their addresses, from the entries that say `listening`.
    pub(super) fn listening(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let mut addresses = BTreeMap::new();
        for entry in self.entries().iter().filter(|entry| entry.field("message") == Some("listening")) {
            let (Some(listener), Some(address)) = (entry.field("listener"), entry.field("address")) else {
                return Err(format!("`listening` without listener and address: {entry:?}").into());
            };
            addresses.insert(listener.to_owned(), address.parse()?);
        }
        Ok(addresses)
    }
}

impl Entry {
    /// A field that is a text; whether the formatter nests fields or not.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// A field that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.as_u64()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get("fields").and_then(|fields| fields.get(name)).or_else(|| self.0.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Log {
        Log { lines: Arc::new(Mutex::new(lines.iter().map(|&line| line.to_owned()).collect())) }
    }

    #[test]
    fn addresses_are_read_from_nested_and_flat_entries() {
        let log = log(&[
            "not json",
            r#"{"level":"INFO","fields":{"message":"listening","listener":"admin","address":"127.0.0.1:1"}}"#,
            r#"{"message":"listening","listener":"metrics","address":"127.0.0.1:2"}"#,
        ]);
        let addresses = log.listening().unwrap();
        assert_eq!(addresses["admin"].port(), 1);
        assert_eq!(addresses["metrics"].port(), 2);
    }

    #[test]
    fn the_end_of_a_long_log_is_shown_and_its_length() {
        let lines: Vec<String> = (1..=1_000).map(|number| format!("line {number}")).collect();
        let tail = Log { lines: Arc::new(Mutex::new(lines)) }.tail();
        assert!(tail.starts_with("the gateway's log, last 200 of 1000 lines:\nline 801\n"), "{tail}");
        assert!(tail.ends_with("\nline 1000"), "{tail}");
    }
}
