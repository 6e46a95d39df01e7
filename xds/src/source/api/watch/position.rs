//! Positions that the server may not have reached: it lags behind another one, or was restored from a backup.
//!
//! A watch from such a position answers 200 and then stays silent, without bookmarks, until the server has reached it
//! (measured on Kubernetes 1.34), and what happened until then is never sent. A watch is therefore in doubt when it
//! stays silent for longer than bookmarks take, and after every end that was not agreed on. The watch is then begun
//! again, and its position checked: by a list of one object that must not be older. The server compares, so this works
//! with every version, and it costs a request instead of a list. The list that follows a failed check is compared with
//! the position where versions may be compared; if it is older, all watchers list again.
//!
//! Silence alone proves nothing: without changes the versions of a kind advance with etcd's progress notifications only
//! (every 10 minutes by default), and a bookmark is sent only for a version that is newer than the watch's start.

use std::cmp::Ordering;

use tokio::time::timeout;

use super::Watcher;
use crate::source::api::metrics::Verb;
use crate::source::api::request::{self, Failure};
use crate::source::api::version::{self, ServerVersion};

/// The answer is one object's metadata, unless the server ignores the limit.
const MAX_BYTES: usize = 64 << 20;

impl Watcher {
    /// Gives up the position if another watcher has seen the server go back.
    pub(super) fn look_back(&mut self) {
        if *self.shared.rewinds.borrow() != self.rewinds {
            self.position = None;
        }
    }

    /// Asks the server whether it has reached the position, if that is in doubt.
    pub(super) async fn verify(&mut self) -> Result<(), Failure> {
        let Some(position) = self.position.as_deref().filter(|_| self.is_doubtful) else { return Ok(()) };
        let result = match self.ask_for(position).await {
            Err(failure) if failure.is_too_large_version() => Err(Failure::Behind { version: position.to_owned() }),
            result => result,
        };
        let outcome = result.as_ref().err().map_or("reached", Failure::reason);
        self.metrics.verified(outcome);
        if let Err(Failure::Behind { version }) = &result {
            tracing::info!(target = %self.target, version, "the API server has not reached this version; listing again");
        }
        result?;
        self.is_doubtful = false;
        Ok(())
    }

    async fn ask_for(&self, position: &str) -> Result<(), Failure> {
        let deadline = self.shared.options.request_timeout;
        let request = self.target.not_older_than(position)?;
        let body = request::send(&self.shared.client, Verb::List, request, deadline).await?;
        let stalled = |_| Failure::Stalled { after: deadline };
        timeout(deadline, request::collect(body, MAX_BYTES)).await.map_err(stalled)??;
        Ok(())
    }

    /// Notes the version of a complete list. If it is older than what was known, all watchers list again.
    pub(super) async fn arrive(&mut self, position: &str) {
        let before = self.latest.replace(position.to_owned());
        let Some(before) = before.filter(|before| version::compare(position, before) == Some(Ordering::Less)) else {
            return;
        };
        if *self.shared.rewinds.borrow() != self.rewinds || !self.versions_compare().await {
            return;
        }
        tracing::warn!(
            target = %self.target, before, now = position,
            "the API server has gone back, as after a restore of etcd from a backup; everything is listed again"
        );
        self.shared.rewinds.send_modify(|rewinds| *rewinds += 1);
        self.rewinds = *self.shared.rewinds.borrow();
    }

    /// Returns `true` if the server promises that resource versions can be compared (KEP-5504).
    async fn versions_compare(&self) -> bool {
        let deadline = self.shared.options.request_timeout;
        let version = ServerVersion::read(&self.shared.client, deadline).await;
        version.is_ok_and(ServerVersion::compares)
    }
}
