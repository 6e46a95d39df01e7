//! Server-side apply, simplified.
//!
//! Simplified in this: lists are atomic (a real server merges those with a declared key, such as conditions, item by item),
//! and only appliers own fields (a real server also records who created, updated or patched what). What holds: an applied field
//! is set; a field that a manager no longer applies goes away unless another manager applies it; two managers that want
//! different values conflict, unless the later one forces.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::kind::Kind;

/// A leaf's path: field names from the top.
type Path = Vec<String>;

/// Who applies.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The name.
    pub name: &'a str,
    /// Whether it takes fields over from other managers.
    pub force: bool,
    /// The time that is recorded.
    pub time: &'a str,
}

/// Applies a configuration to an object, or to nothing.
pub fn apply(kind: Kind, name: &str, old: Option<&Value>, applied: &Value, by: Manager<'_>) -> Result<Value, ApiError> {
    let mut object = old.cloned().unwrap_or_else(|| json!({"metadata": {}}));
    let mut entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let wanted = leaves(applied);
    release_or_conflict(kind, name, &mut entries, &object, applied, &wanted, by)?;
    for path in owned_by(&entries, by.name).difference(&wanted) {
        let elsewhere = entries.iter().any(|entry| entry["manager"] != by.name && owned(entry).contains(path));
        if !elsewhere {
            remove(&mut object, path);
        }
    }
    for path in &wanted {
        let content = at(applied, path).cloned().unwrap_or_default();
        // An empty map asks for a map, not for one without what others have in it.
        let is_there = content.is_object() && at(&object, path).is_some_and(Value::is_object);
        if !is_there {
            set(&mut object, path, content);
        }
    }
    if let Some(version) = applied["metadata"]["resourceVersion"].as_str() {
        object["metadata"]["resourceVersion"] = version.into();
    }
    entries.retain(|entry| entry["manager"] != by.name);
    entries.push(entry(kind, &wanted, by));
    object["metadata"]["managedFields"] = entries.into();
    Ok(object)
}

/// Takes from others the fields that this manager wants otherwise, if it may.
fn release_or_conflict(
    kind: Kind,
    name: &str,
    entries: &mut [Value],
    object: &Value,
    applied: &Value,
    wanted: &BTreeSet<Path>,
    by: Manager<'_>,
) -> Result<(), ApiError> {
    for entry in entries.iter_mut().filter(|entry| entry["manager"] != by.name) {
        let theirs = owned(entry);
        let contested: BTreeSet<_> =
            theirs.intersection(wanted).filter(|path| at(object, path) != at(applied, path)).cloned().collect();
        if let Some(path) = contested.first() {
            if !by.force {
                let manager = entry["manager"].as_str().unwrap_or_default();
                let why = format!("Apply failed with 1 conflict: conflict with \"{manager}\": .{}", path.join("."));
                return Err(ApiError::conflict(kind, name, &why));
            }
            entry["fieldsV1"] = fields(theirs.difference(&contested));
        }
    }
    Ok(())
}

fn entry(kind: Kind, owned: &BTreeSet<Path>, by: Manager<'_>) -> Value {
    json!({
        "manager": by.name, "operation": "Apply", "apiVersion": kind.facts().api_version(),
        "time": by.time, "fieldsType": "FieldsV1", "fieldsV1": fields(owned),
    })
}

/// The paths of everything that isn't a map, except for what identifies the object.
fn leaves(applied: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    collect(applied, &mut Vec::new(), &mut found);
    found.retain(|path| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        !matches!(
            path[..],
            ["apiVersion" | "kind"]
                | [
                    "metadata",
                    "name" | "namespace" | "resourceVersion" | "uid" | "managedFields" | "creationTimestamp"
                ]
        )
    });
    found
}

fn collect(value: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (field, content) in fields {
                path.push(field.clone());
                collect(content, path, found);
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

/// Paths as `fieldsV1` has them.
fn fields<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Value {
    let mut tree = Value::Object(Map::new());
    for path in paths {
        let mut place = &mut tree;
        for field in path {
            place = &mut place[format!("f:{field}")];
        }
        if place.is_null() {
            *place = json!({});
        }
    }
    tree
}

fn owned(entry: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    if entry["operation"] == "Apply" {
        collect_owned(&entry["fieldsV1"], &mut Vec::new(), &mut found);
    }
    found
}

fn collect_owned(tree: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let Some(fields) = tree.as_object() else { return };
    if fields.is_empty() && !path.is_empty() {
        found.insert(path.clone());
    }
    for (field, below) in fields {
        path.push(field.trim_start_matches("f:").to_owned());
        collect_owned(below, path, found);
        path.pop();
    }
}

fn owned_by(entries: &[Value], manager: &str) -> BTreeSet<Path> {
    entries.iter().filter(|entry| entry["manager"] == manager).flat_map(owned).collect()
}

fn at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field))
}

fn set(value: &mut Value, path: &Path, content: Value) {
    let mut place = value;
    for field in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = content;
}

fn remove(value: &mut Value, path: &Path) {
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(value, |value, field| value.get_mut(field));
    if let Some(fields) = parent.and_then(Value::as_object_mut) {
        fields.remove(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(name: &str, force: bool) -> Manager<'_> {
        Manager { name, force, time: "2026-01-01T00:00:00Z" }
    }

    fn applied(old: Option<&Value>, new: &Value, by: Manager<'_>) -> Result<Value, ApiError> {
        apply(Kind::ConfigMap, "a", old, new, by)
    }

    #[test]
    fn a_field_that_is_no_longer_applied_goes_away() {
        let first = applied(None, &json!({"data": {"a": "1", "b": "2"}}), by("x", false)).unwrap();
        let second = applied(Some(&first), &json!({"data": {"a": "1"}}), by("x", false)).unwrap();
        assert_eq!(second["data"], json!({"a": "1"}));
    }

    #[test]
    fn two_managers_conflict_until_one_forces() {
        let first = applied(None, &json!({"data": {"a": "1"}}), by("x", false)).unwrap();
        let other = json!({"data": {"a": "2", "b": "3"}});
        assert_eq!(applied(Some(&first), &other, by("y", false)).unwrap_err().code, 409);
        let forced = applied(Some(&first), &other, by("y", true)).unwrap();
        assert_eq!(forced["data"], json!({"a": "2", "b": "3"}));
        let given_up = applied(Some(&forced), &json!({"data": {}}), by("x", false)).unwrap();
        assert_eq!(given_up["data"]["b"], "3");
    }
}
