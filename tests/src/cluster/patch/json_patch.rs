//! JSON patch (RFC 6902).

use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Test { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
}

/// Changes a value by a list of operations; all of them or none.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let operations = Vec::<Operation>::deserialize(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    let mut changed = target.clone();
    for operation in operations {
        apply(&mut changed, operation).ok_or_else(|| {
            ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        })?;
    }
    *target = changed;
    Ok(())
}

fn apply(target: &mut Value, operation: Operation) -> Option<()> {
    match operation {
        Operation::Add { path, value } => add(target, &path, value),
        Operation::Remove { path } => remove(target, &path).map(|_| ()),
        Operation::Replace { path, value } => {
            *target.pointer_mut(&path)? = value;
            Some(())
        }
        Operation::Test { path, value } => (target.pointer(&path)? == &value).then_some(()),
        Operation::Move { from, path } => {
            let value = remove(target, &from)?;
            add(target, &path, value)
        }
        Operation::Copy { from, path } => {
            let value = target.pointer(&from)?.clone();
            add(target, &path, value)
        }
    }
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        *target = value;
        return Some(());
    };
    match target.pointer_mut(parent)? {
        Value::Object(fields) => {
            fields.insert(unescape(last), value);
        }
        Value::Array(items) => {
            let index = if last == "-" { items.len() } else { last.parse().ok()? };
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = path.rsplit_once('/')?;
    match target.pointer_mut(parent)? {
        Value::Object(fields) => fields.remove(&unescape(last)),
        Value::Array(items) => {
            let index: usize = last.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        _ => None,
    }
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_are_carried_out_in_order() {
        let mut object = json!({"metadata": {"finalizers": ["a"]}, "x": 1});
        let patch = json!([
            {"op": "test", "path": "/x", "value": 1},
            {"op": "add", "path": "/metadata/finalizers/-", "value": "b"},
            {"op": "add", "path": "/metadata/a~1b", "value": true},
            {"op": "move", "from": "/x", "path": "/y"},
            {"op": "remove", "path": "/metadata/finalizers/0"},
        ]);
        json_patch(&mut object, &patch).unwrap();
        assert_eq!(object, json!({"metadata": {"finalizers": ["b"], "a/b": true}, "y": 1}));
    }

    #[test]
    fn a_failing_test_leaves_everything_as_it_was() {
        let mut object = json!({"x": 1});
        let patch = json!([{"op": "replace", "path": "/x", "value": 2}, {"op": "test", "path": "/x", "value": 1}]);
        assert_eq!(json_patch(&mut object, &patch).unwrap_err().code, 422);
        assert_eq!(object, json!({"x": 1}));
    }
}
