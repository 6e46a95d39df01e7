//! Requests that write.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use super::kind::Kind;
use super::object::{self, Key};
use super::patch::{self, Format};
use super::reply::{self, Body};
use super::request::{ApiRequest, Verb};
use super::selector::Selector;
use super::store::{self, Outcome, Step};
use super::write::{self, Part, Preconditions, Target};

/// Carries a writing request out.
pub(super) fn write(shared: &Shared, request: &ApiRequest, body: &[u8]) -> Result<Response<Body>, ApiError> {
    match request.verb {
        Verb::Create => create(shared, request, parse(body)?),
        Verb::Update => update(shared, request, parse(body)?),
        Verb::Patch => patch(shared, request, &parse(body)?),
        Verb::DeleteCollection => delete_collection(shared, request),
        _ => delete(shared, request, body),
    }
}

fn create(shared: &Shared, request: &ApiRequest, object: Value) -> Result<Response<Body>, ApiError> {
    let kind = request.kind;
    let namespace = namespace(request)?;
    if kind.facts().namespaced && shared.store.get(Kind::Namespace, &object::key("", namespace)).is_none() {
        return Err(ApiError::not_found(Kind::Namespace, namespace));
    }
    let name = match (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
        (Some(name), _) if !name.is_empty() => name.to_owned(),
        (_, Some(prefix)) if !prefix.is_empty() => write::generated_name(prefix),
        _ => {
            return Err(ApiError::invalid(kind, "", "metadata.name: Required value: name or generateName is required"));
        }
    };
    let target = Target { kind, namespace, name: &name, part: Part::Main, clock: &shared.clock };
    let outcome = shared.store.write(kind, &object::key(namespace, &name), |old| {
        Ok(pretend_if_asked(request, target.create(old.as_ref(), object)?))
    })?;
    Ok(stored(request, &outcome, StatusCode::CREATED))
}

fn update(shared: &Shared, request: &ApiRequest, object: Value) -> Result<Response<Body>, ApiError> {
    let (key, target) = target(shared, request)?;
    let outcome =
        shared.store.write(request.kind, &key, |old| Ok(pretend_if_asked(request, target.update(old, object)?)))?;
    Ok(stored(request, &outcome, StatusCode::OK))
}

fn patch(shared: &Shared, request: &ApiRequest, patch: &Value) -> Result<Response<Body>, ApiError> {
    let (key, target) = target(shared, request)?;
    let format = Format::of(&request.content_type).ok_or_else(|| {
        let message = format!("the body of the request was in an unknown format: {}", request.content_type);
        ApiError::new(415, "UnsupportedMediaType", message)
    })?;
    let time = shared.clock.metadata_time();
    let outcome = shared.store.write(request.kind, &key, |old| {
        let step = match (format, old) {
            (Format::Apply, old) => apply(request, &target, old, patch, &time)?,
            (_, None) => return Err(ApiError::not_found(request.kind, target.name)),
            (format, Some(old)) => {
                let mut new = old.clone();
                match format {
                    Format::Json => patch::json_patch(&mut new, patch)?,
                    Format::Merge | Format::Apply => patch::merge(&mut new, patch)?,
                }
                target.update(Some(old), new)?
            }
        };
        Ok(pretend_if_asked(request, step))
    })?;
    let status = if matches!(outcome, Outcome::Created(_)) { StatusCode::CREATED } else { StatusCode::OK };
    Ok(stored(request, &outcome, status))
}

fn apply(
    request: &ApiRequest,
    target: &Target<'_>,
    old: Option<Value>,
    applied: &Value,
    time: &str,
) -> Result<Step, ApiError> {
    let name = request.query.text("fieldManager");
    if name.is_empty() {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    if !applied.is_object() || applied["apiVersion"].is_null() || applied["kind"].is_null() {
        return Err(ApiError::bad_request("invalid object type: /, Kind="));
    }
    let by = patch::apply::Manager { name, force: request.query.is_true("force"), time };
    let new = patch::apply::apply(request.kind, target.name, old.as_ref(), applied, by)?;
    match old {
        None if target.part == Part::Status => Err(ApiError::not_found(request.kind, target.name)),
        None => target.create(None, new),
        Some(old) => target.update(Some(old), new),
    }
}

fn delete(shared: &Shared, request: &ApiRequest, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let (key, target) = target(shared, request)?;
    let mut options = if body.is_empty() { Preconditions::default() } else { options(body)? };
    if let Some(seconds) = request.query.number("gracePeriodSeconds")? {
        options = Preconditions::grace_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
    let outcome = shared
        .store
        .write(request.kind, &key, |old| Ok(pretend_if_asked(request, write::delete(&target, old, &options)?)))?;
    let Outcome::Removed(last) = &outcome else { return Ok(stored(request, &outcome, StatusCode::OK)) };
    if request.kind == Kind::Namespace {
        empty_namespace(shared, target.name);
    }
    let status = write::deletion_status(request.kind, target.name, &last.value()["metadata"]["uid"]);
    Ok(reply::json_value(StatusCode::OK, &status))
}

fn delete_collection(shared: &Shared, request: &ApiRequest) -> Result<Response<Body>, ApiError> {
    let query = &request.query;
    let selector = Selector::parse(request.kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let snapshot = shared.store.snapshot(request.kind);
    for (key, object) in store::range(&snapshot.objects, request.namespace.as_deref(), None) {
        if selector.matches(key, object) {
            shared.delete(request.kind, key, &Preconditions::default());
        }
    }
    Ok(reply::json_value(StatusCode::OK, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
}

/// Deletes what is in a namespace; a real server does so bit by bit before the namespace goes.
pub(super) fn empty_namespace(shared: &Shared, namespace: &str) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.facts().namespaced) {
        let snapshot = shared.store.snapshot(kind);
        for (key, _) in store::range(&snapshot.objects, Some(namespace), None) {
            shared.delete(kind, key, &Preconditions::grace_seconds(0));
        }
    }
}

fn target<'a>(shared: &'a Shared, request: &'a ApiRequest) -> Result<(Key, Target<'a>), ApiError> {
    let name = request.name.as_deref().ok_or_else(ApiError::no_such_path)?;
    let namespace = namespace(request)?;
    let part = if request.status { Part::Status } else { Part::Main };
    let target = Target { kind: request.kind, namespace, name, part, clock: &shared.clock };
    Ok((object::key(namespace, name), target))
}

/// The namespace of the object; empty for a cluster-wide kind.
fn namespace(request: &ApiRequest) -> Result<&str, ApiError> {
    match &request.namespace {
        Some(namespace) => Ok(namespace),
        None if request.kind.facts().namespaced => {
            Err(ApiError::bad_request("an empty namespace may not be set during creation"))
        }
        None => Ok(""),
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    // JSON is YAML too, but read faster as what it is.
    serde_json::from_slice(body).or_else(|_| {
        let text = std::str::from_utf8(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
        serde_saphyr::from_str(text).map_err(|error| ApiError::bad_request(format!("error decoding the body: {error}")))
    })
}

fn options(body: &[u8]) -> Result<Preconditions, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding DeleteOptions: {error}")))
}

fn pretend_if_asked(request: &ApiRequest, step: Step) -> Step {
    match step {
        Step::Put(value) | Step::Remove(value) if request.query.text("dryRun") == "All" => Step::Pretend(value),
        step => step,
    }
}

fn stored(request: &ApiRequest, outcome: &Outcome, status: StatusCode) -> Response<Body> {
    reply::json_bytes(status, request.shape.object(outcome.object()))
}
