//! Where a watch begins.

use std::sync::Arc;

use super::super::Shared;
use super::super::error::ApiError;
use super::super::object::Object;
use super::super::request::ApiRequest;
use super::super::selector::Selector;
use super::list;

/// What a watch sends first, and the version from which it follows changes. A version that is not reached yet is
/// accepted, and the watch is silent until then, as a real server's is (measured on 1.34).
pub(super) struct Start {
    pub(super) revision: u64,
    pub(super) initial: Vec<Arc<Object>>,
    /// Whether a bookmark marks the end of the initial events (`WatchList`, KEP-3157).
    pub(super) marks_end: bool,
}

impl Start {
    pub(super) fn of(shared: &Shared, request: &ApiRequest, selector: &Selector) -> Result<Self, ApiError> {
        let query = &request.query;
        let streams = query.is_true("sendInitialEvents");
        check_parameters(shared, request, streams)?;
        let asked = query.number("resourceVersion")?.unwrap_or(0);
        let current = shared.store.revision();
        if asked > current && streams {
            return Err(ApiError::from_the_future(asked, current));
        }
        let from_now = !query.text("sendInitialEvents").is_empty() && !streams;
        if streams || asked == 0 && !from_now {
            let snapshot = shared.store.snapshot(request.kind);
            let initial = list::select(&snapshot.objects, request.namespace.as_deref(), selector);
            return Ok(Self { revision: snapshot.revision, initial, marks_end: streams });
        }
        let revision = if asked == 0 { current } else { asked };
        Ok(Self { revision, initial: Vec::new(), marks_end: false })
    }
}

fn check_parameters(shared: &Shared, request: &ApiRequest, streams: bool) -> Result<(), ApiError> {
    let query = &request.query;
    let forbidden =
        |what: &str| Err(ApiError::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {what}")));
    if query.text("sendInitialEvents").is_empty() {
        return match query.text("resourceVersionMatch") {
            "" => Ok(()),
            _ => forbidden(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        };
    }
    if !shared.watch_list {
        return forbidden(
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        );
    }
    if query.text("resourceVersionMatch") != "NotOlderThan" {
        return forbidden(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    if streams && !query.is_true("allowWatchBookmarks") {
        return forbidden("allowWatchBookmarks: Forbidden: sendInitialEvents requires allowWatchBookmarks");
    }
    Ok(())
}
