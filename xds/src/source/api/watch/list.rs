//! Lists in pages.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::Watcher;
use crate::source::api::metrics::Verb;
use crate::source::api::request::{self, Failure};

/// A page is smaller. One that is not is asked for again with fewer objects.
const MAX_PAGE_BYTES: usize = 64 << 20;

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

impl Watcher {
    /// Lists everything, page by page. A page that fails in passing is asked for again; only when the server no
    /// longer knows the list does it begin anew.
    pub(super) async fn list(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let _permit = shared.lists.acquire().await;
        self.begin();
        let mut token: Option<String> = None;
        loop {
            let (version, next) = self.page(token.as_deref()).await?;
            match next {
                Some(next) => token = Some(next),
                None => break self.complete(version).await,
            }
        }
        Ok(())
    }

    /// Reads one page; returns the version of the list and how to ask for the next page.
    async fn page(&mut self, token: Option<&str>) -> Result<(String, Option<String>), Failure> {
        let mut attempts = 0;
        let body = loop {
            match self.page_text(token).await {
                Ok(body) => break body,
                Err(Failure::TooLarge { .. }) if self.page_size > 1 => self.page_size = (self.page_size / 8).max(1),
                Err(failure) if attempts < PAGE_ATTEMPTS && passes(&failure) => {
                    attempts += 1;
                    self.metrics.failed(failure.reason());
                    let pause = self.backoff.fail().max(failure.retry_after().unwrap_or_default());
                    tokio::time::sleep(pause).await;
                }
                Err(failure) => return Err(failure),
            }
        };
        self.backoff.reset();
        self.answered();
        let page: Page<'_> = serde_json::from_slice(&body).map_err(|error| Failure::unreadable(&error))?;
        let items = page.items.unwrap_or_default();
        self.metrics.told(items.len() as u64);
        for item in items {
            self.apply(item.get()).await;
        }
        Ok((page.metadata.resource_version, page.metadata.token.filter(|token| !token.is_empty())))
    }

    async fn page_text(&self, token: Option<&str>) -> Result<bytes::Bytes, Failure> {
        let deadline = self.shared.options.request_timeout;
        let request = self.target.list(self.page_size, token)?;
        let body = request::send(&self.shared.client, Verb::List, request, deadline).await?;
        let stalled = |_| Failure::Stalled { after: deadline };
        timeout(deadline, request::collect(body, MAX_PAGE_BYTES)).await.map_err(stalled)?
    }
}

/// How often a page is asked for again.
const PAGE_ATTEMPTS: u32 = 5;

/// Whether a failure says nothing about the list as such.
fn passes(failure: &Failure) -> bool {
    match failure.code() {
        Some(code) => code == 429 || code >= 500,
        None => !matches!(failure, Failure::Unreadable { .. } | Failure::TooLarge { .. }),
    }
}
