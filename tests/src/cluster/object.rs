//! An object as it is stored: the bytes that go out, and where the metadata is in them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::kind::Kind;

/// Where an object is among those of its kind: `namespace/name`, with an empty namespace for cluster-wide kinds.
///
/// Ordered as etcd orders keys, so that lists come in a real server's order.
pub type Key = Arc<str>;

/// The key of an object.
pub(super) fn key(namespace: &str, name: &str) -> Key {
    format!("{namespace}/{name}").into()
}

/// Namespace and name of a key.
pub(super) fn split_key(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// One version of an object.
///
/// `{"apiVersion":…,"kind":…,"metadata":{…},…}`: metadata comes third, so that a list's item and a
/// `PartialObjectMetadata` are slices of the same bytes, and nothing is parsed to send them.
#[derive(Debug)]
pub struct Object {
    /// The version.
    pub revision: u64,
    bytes: Bytes,
    metadata: Range<usize>,
}

/// The label that precedes the metadata in the bytes.
const METADATA: &[u8] = b"\"metadata\":";

#[derive(Default, Deserialize)]
struct Labelled {
    #[serde(default)]
    labels: HashMap<String, String>,
}

impl Object {
    /// Stores a value at a version, which is written into the metadata.
    pub(super) fn encode(kind: Kind, revision: u64, value: &mut Value) -> Self {
        let facts = kind.facts();
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(
            format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", facts.api_version(), facts.kind).as_bytes(),
        );
        out.extend_from_slice(METADATA);
        let start = out.len();
        append(&mut out, &value["metadata"]);
        let metadata = start..out.len();
        for (field, content) in value.as_object().into_iter().flatten() {
            if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                out.push(b',');
                append(&mut out, &Value::from(field.as_str()));
                out.push(b':');
                append(&mut out, content);
            }
        }
        out.push(b'}');
        out.shrink_to_fit();
        Self { revision, bytes: out.into(), metadata }
    }

    /// The whole object.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The metadata.
    pub(super) fn metadata(&self) -> &[u8] {
        &self.bytes[self.metadata.clone()]
    }

    /// What follows `{` where the type is left out, as in the lists of built-in kinds.
    pub(super) fn after_type(&self) -> &[u8] {
        &self.bytes[self.metadata.start - METADATA.len()..]
    }

    /// The object as a value.
    pub fn value(&self) -> Value {
        // It was made from a value.
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// A field's text, for a path that starts outside of the metadata.
    pub(super) fn text(&self, path: &[&str]) -> String {
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(&self.bytes) else { return String::new() };
        let found = path
            .split_first()
            .and_then(|(first, rest)| rest.iter().try_fold(object.get(*first)?, |value, field| value.get(field)));
        found.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The labels.
    pub(super) fn labels(&self) -> HashMap<String, String> {
        serde_json::from_slice::<Labelled>(self.metadata()).unwrap_or_default().labels
    }
}

fn append(out: &mut Vec<u8>, value: &Value) {
    // A value always has a JSON form, and a Vec takes all of it.
    let _written = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_metadata_is_a_slice_of_the_object() {
        let mut value = json!({"kind": "Secret", "data": {"a": "b"}, "metadata": {"name": "x", "labels": {"l": "1"}}});
        let object = Object::encode(Kind::Secret, 7, &mut value);
        let metadata: Value = serde_json::from_slice(object.metadata()).unwrap();
        assert_eq!(metadata, json!({"name": "x", "labels": {"l": "1"}, "resourceVersion": "7"}));
        assert_eq!(object.value()["apiVersion"], "v1");
        assert_eq!(object.labels()["l"], "1");
        assert!(object.after_type().starts_with(b"\"metadata\":{"));
        assert_eq!(object.text(&["data", "a"]), "b");
    }
}
