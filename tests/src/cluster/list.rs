//! Lists: whole, or page by page from one snapshot.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::error::ApiError;
use super::object::{Key, Object};
use super::reply::{self, Body};
use super::request::ApiRequest;
use super::selector::Selector;
use super::store::{self, Objects, Snapshot, Store};

/// Size of the pieces in which a list goes out.
const PIECE: usize = 64 * 1_024;

/// Answers a list.
pub(super) fn list(store: &Store, request: &ApiRequest) -> Result<Response<Body>, ApiError> {
    let query = &request.query;
    let selector = Selector::parse(request.kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let start = Start::of(store, request)?;
    // A list "at any version" comes from the cache of a real server, which doesn't page.
    let limit = if query.text("resourceVersion") == "0" { 0 } else { query.number("limit")?.unwrap_or(0) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = page(&start, request.namespace.as_deref(), &selector, limit);
    let mut metadata = json!({"resourceVersion": start.snapshot.revision.to_string()});
    if let Some(last) = &page.more_after {
        metadata["continue"] = continue_token(start.snapshot.revision, last).into();
        if selector.is_empty() {
            let rest = store::range(&start.snapshot.objects, request.namespace.as_deref(), Some(last)).count();
            metadata["remainingItemCount"] = rest.into();
        }
    }
    Ok(reply::json_body(StatusCode::OK, body(request, &metadata, page.objects)))
}

/// Objects of a snapshot in order, as many as suit.
pub(super) fn select(objects: &Objects, namespace: Option<&str>, selector: &Selector) -> Vec<Arc<Object>> {
    let all = store::range(objects, namespace, None);
    all.filter(|(key, object)| selector.matches(key, object)).map(|(_, object)| Arc::clone(object)).collect()
}

/// Where a list begins.
struct Start {
    snapshot: Snapshot,
    after: Option<String>,
}

impl Start {
    fn of(store: &Store, request: &ApiRequest) -> Result<Self, ApiError> {
        let query = &request.query;
        let token = query.text("continue");
        if !token.is_empty() {
            return Self::continued(store, request, token);
        }
        let asked = query.number("resourceVersion")?.unwrap_or(0);
        let current = store.revision();
        if asked > current {
            return Err(ApiError::from_the_future(asked, current));
        }
        let snapshot = match query.text("resourceVersionMatch") {
            "Exact" => {
                let oldest = || ApiError::gone(asked, current);
                store.snapshot_at(request.kind, asked).ok_or_else(oldest)?
            }
            _ if query.text("limit").is_empty() => store.snapshot(request.kind),
            _ => store.snapshot_for_pages(request.kind),
        };
        Ok(Self { snapshot, after: None })
    }

    fn continued(store: &Store, request: &ApiRequest, token: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("continue key is not valid");
        let (revision, after) = token.split_once('~').ok_or_else(invalid)?;
        let after = Some(after.to_owned());
        if revision == "-1" {
            return Ok(Self { snapshot: store.snapshot_for_pages(request.kind), after });
        }
        let revision = revision.parse().map_err(|_| invalid())?;
        match store.snapshot_at(request.kind, revision) {
            Some(snapshot) => Ok(Self { snapshot, after }),
            None => Err(ApiError::expired_continue(after.map(|after| format!("-1~{after}")))),
        }
    }
}

struct Page {
    objects: Vec<Arc<Object>>,
    more_after: Option<Key>,
}

/// At most `limit` objects (0: all).
fn page(start: &Start, namespace: Option<&str>, selector: &Selector, limit: usize) -> Page {
    let suitable = store::range(&start.snapshot.objects, namespace, start.after.as_deref())
        .filter(|(key, object)| selector.matches(key, object));
    let mut page = Page { objects: Vec::new(), more_after: None };
    let mut last: Option<&Key> = None;
    for (key, object) in suitable {
        if limit > 0 && page.objects.len() == limit {
            page.more_after = last.cloned();
            break;
        }
        page.objects.push(Arc::clone(object));
        last = Some(key);
    }
    page
}

fn continue_token(revision: u64, last: &str) -> String {
    format!("{revision}~{last}")
}

fn body(request: &ApiRequest, metadata: &Value, objects: Vec<Arc<Object>>) -> Body {
    let (kind, shape) = (request.kind, request.shape);
    let (api_version, name) = shape.type_of(kind);
    let head =
        format!("{{\"kind\":\"{name}List\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[");
    let pieces =
        stream::unfold((Some(head), objects.into_iter(), true), move |(head, mut objects, first)| async move {
            let mut out = head?.into_bytes();
            let mut first = first;
            while out.len() < PIECE {
                let Some(object) = objects.next() else {
                    out.extend_from_slice(b"]}");
                    return Some((Ok(piece(out)), (None, objects, first)));
                };
                if !first {
                    out.push(b',');
                }
                first = false;
                shape.append_item(&mut out, kind, &object);
            }
            Some((Ok::<_, io::Error>(piece(out)), (Some(String::new()), objects, first)))
        });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

fn piece(bytes: Vec<u8>) -> Frame<Bytes> {
    Frame::data(bytes.into())
}
