//! Watches, and lists that a watch streams.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Watcher;
use crate::source::api::backoff::jittered;
use crate::source::api::lines::Lines;
use crate::source::api::metrics::Verb;
use crate::source::api::request::{self, Failure, Status};

/// How much later than promised the server may end a watch before the connection is taken for dead.
const GRACE: Duration = Duration::from_secs(10);

/// How much earlier than agreed the server may end a watch without a reason.
const EARLY: Duration = Duration::from_secs(2);

/// Marks the end of what there is in a streamed list (KEP-3157).
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// One line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Where a watch stands after a line.
enum Step {
    /// At this version.
    At(String),
    /// At this version, and all there is has been said.
    Complete(String),
    /// Where it was.
    Unchanged,
}

/// Takes the type and the object of a line apart.
///
/// Go writes `{"type":"ADDED","object":` and so on, where the object can be cut out without reading it. What is cut
/// out wrongly is no JSON, and found when it is read.
fn split(line: &[u8]) -> Result<(Cow<'_, str>, &str), serde_json::Error> {
    for (start, kind) in STARTS {
        let object = line.strip_prefix(start.as_bytes()).and_then(|rest| rest.strip_suffix(b"}"));
        if let Some(object) = object.and_then(|object| std::str::from_utf8(object).ok()) {
            return Ok((Cow::Borrowed(kind), object));
        }
    }
    let line: Line<'_> = serde_json::from_slice(line)?;
    Ok((line.kind, line.object.get()))
}

const STARTS: [(&str, &str); 4] = [
    (r#"{"type":"ADDED","object":"#, "ADDED"),
    (r#"{"type":"MODIFIED","object":"#, "MODIFIED"),
    (r#"{"type":"DELETED","object":"#, "DELETED"),
    (r#"{"type":"BOOKMARK","object":"#, "BOOKMARK"),
];

impl Watcher {
    /// Follows changes since the last position until the server ends the watch.
    pub(super) async fn watch(&mut self) -> Result<(), Failure> {
        let position = self.position.clone().unwrap_or_default();
        let (lines, deadline) = self.open(&position, false).await?;
        self.verify().await?;
        self.read(lines, deadline).await
    }

    /// Has the server stream all there is and then follows changes, until it ends the watch.
    pub(super) async fn stream(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let permit = shared.lists.acquire().await;
        // The newest state, not just any that a cache has: time must not go backwards.
        let (mut lines, deadline) = self.open("", true).await?;
        self.begin();
        loop {
            let patience = Instant::now() + self.shared.options.request_timeout;
            let Some(line) = lines.next(patience).await? else {
                return Err(Failure::Broken { reason: "a streamed list ended before its end".to_owned() });
            };
            if let Step::Complete(position) = self.step(&line).await? {
                self.complete(position).await;
                break;
            }
        }
        drop(permit);
        self.read(lines, deadline).await
    }

    /// Takes in changes until the watch ends, is silent for too long, or another watcher sees the server go back.
    async fn read(&mut self, mut lines: Lines, deadline: Instant) -> Result<(), Failure> {
        let mut rewinds = self.shared.rewinds.subscribe();
        loop {
            let silent_at = Instant::now() + self.shared.options.silence;
            let next = tokio::select! {
                next = lines.next(deadline.min(silent_at)) => next,
                // Ends with the sender, which `self` holds.
                _ = rewinds.wait_for(|rewinds| *rewinds != self.rewinds) => return Ok(()),
            };
            let line = match next {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.is_doubtful = Instant::now() + GRACE + EARLY < deadline;
                    return Ok(());
                }
                Err(Failure::Stalled { .. }) if silent_at < deadline => {
                    self.is_doubtful = true;
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            };
            match self.step(&line).await? {
                Step::At(position) | Step::Complete(position) => {
                    self.latest = Some(position.clone());
                    self.position = Some(position);
                }
                Step::Unchanged => {}
            }
        }
    }

    /// Begins a watch. Returns when it has to have ended.
    async fn open(&mut self, position: &str, everything: bool) -> Result<(Lines, Instant), Failure> {
        let shared = Arc::clone(&self.shared);
        let options = &shared.options;
        // Spread, so that watches which began together do not end together.
        let duration = jittered(options.watch_timeout).max(Duration::from_secs(1));
        let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let request = self.target.watch(position, everything, seconds)?;
        let body = request::send(&self.shared.client, Verb::Watch, request, options.request_timeout).await?;
        self.answered();
        Ok((Lines::new(body), Instant::now() + duration + GRACE))
    }

    async fn step(&mut self, line: &[u8]) -> Result<Step, Failure> {
        let unreadable = |error| Failure::unreadable(&error);
        let (kind, json) = split(line).map_err(unreadable)?;
        let version = match &*kind {
            "ADDED" | "MODIFIED" => {
                self.metrics.told(1);
                self.apply(json).await
            }
            "DELETED" => {
                self.metrics.told(1);
                self.delete(json).await
            }
            "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(json).map_err(unreadable)?;
                if metadata.annotations.is_some_and(|annotations| annotations.contains_key(INITIAL_END)) {
                    return Ok(Step::Complete(metadata.resource_version));
                }
                Some(metadata.resource_version)
            }
            "ERROR" => return Err(serde_json::from_str::<Status>(json).map_err(unreadable)?.into()),
            _ => None,
        };
        Ok(version.filter(|version| !version.is_empty()).map_or(Step::Unchanged, Step::At))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_however_it_is_written() {
        let lines = [
            r#"{"type":"MODIFIED","object":{"a":1}}"#,
            r#"{"object":{"a":1},"type":"MODIFIED"}"#,
            r#" { "type" : "MODIFIED", "object" : {"a":1} } "#,
        ];
        for line in lines {
            assert_eq!(split(line.as_bytes()).unwrap(), ("MODIFIED".into(), r#"{"a":1}"#), "{line}");
        }
        assert!(split(br#"{"type":"MODIFIED""#).is_err());
    }
}
