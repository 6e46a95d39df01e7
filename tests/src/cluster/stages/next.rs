//! What a stage does to an object.

use serde_json::Value;

use super::super::clock::Clock;
use super::super::error::ApiError;
use super::super::kind::Kind;
use super::super::patch;
use super::super::store::Step;
use super::super::write::{self, Part, Preconditions, Target};
use super::{Action, Stage};
use crate::ca::TestCa;
use crate::manifests::base64;

/// The annotation that says which names a Secret's certificate is for, separated by commas.
const NAMES: &str = "simulated/names";

/// What stages need to know.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Context<'a> {
    pub(in super::super) clock: &'a Clock,
    pub(in super::super) ca: &'a TestCa,
}

/// The object after a stage. An object that doesn't match any more stays as it is: whatever changed it is yet to be observed.
pub(in super::super) fn advance(
    kind: Kind,
    key: &str,
    old: Option<Value>,
    stage: &Stage,
    context: Context<'_>,
) -> Result<Step, ApiError> {
    let (namespace, name) = super::super::object::split_key(key);
    let old = old.filter(|old| stage.matches(old)).ok_or_else(|| ApiError::not_found(kind, name))?;
    let target = Target { kind, namespace, name, part: Part::All, clock: context.clock };
    let next = &stage.next;
    if next.delete {
        return write::delete(&target, Some(old), &Preconditions::grace_seconds(0));
    }
    let mut new = old.clone();
    for (part, change) in [("status", &next.status), ("metadata", &next.metadata)] {
        if let Some(change) = change {
            let mut change = change.clone();
            fill_in_time(&mut change, &context.clock.metadata_time());
            patch::merge(&mut new[part], &change)?;
        }
    }
    if kind == Kind::Pod {
        keep_restart_count(&old, &mut new);
    }
    for action in &next.actions {
        match action {
            Action::IssueCertificate => issue(&mut new, context.ca)?,
            Action::CountRestart => count_restart(&mut new),
        }
    }
    target.update(Some(old), new)
}

fn fill_in_time(value: &mut Value, time: &str) {
    match value {
        Value::String(text) if text == "$now" => time.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in_time(item, time)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_in_time(field, time)),
        _ => {}
    }
}

fn issue(secret: &mut Value, ca: &TestCa) -> Result<(), ApiError> {
    let names = secret["metadata"]["annotations"][NAMES].as_str().unwrap_or_default().to_owned();
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let issued = ca.issue(&names).map_err(|error| ApiError::new(500, "InternalError", error.to_string()))?;
    secret["data"]["tls.crt"] = base64(issued.chain.as_bytes()).into();
    secret["data"]["tls.key"] = base64(issued.key.as_bytes()).into();
    Ok(())
}

/// A patch replaces the list of container statuses, but how often a container has restarted isn't its to know.
fn keep_restart_count(old: &Value, new: &mut Value) {
    let count = &old["status"]["containerStatuses"][0]["restartCount"];
    if !count.is_null() && new["status"]["containerStatuses"][0].is_object() {
        new["status"]["containerStatuses"][0]["restartCount"] = count.clone();
    }
}

fn count_restart(pod: &mut Value) {
    let count = &mut pod["status"]["containerStatuses"][0]["restartCount"];
    *count = (count.as_u64().unwrap_or_default() + 1).into();
}
