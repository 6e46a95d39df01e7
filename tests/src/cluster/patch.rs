//! The patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902), server-side apply.
//!
//! A strategic merge patch is treated as a merge patch: lists are replaced as a whole, and its directives (`$patch`,
//! `$retainKeys`, …) are refused rather than misread.

use serde_json::{Map, Value};

use super::error::ApiError;

pub mod apply;
mod json_patch;

pub use json_patch::json_patch;

/// How a body changes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/merge-patch+json`, and strategic merge.
    Merge,
    /// `application/json-patch+json`.
    Json,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl Format {
    /// The format that a content type names.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => Some(Self::Merge),
            "application/json-patch+json" => Some(Self::Json),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Changes a value by a merge patch.
pub fn merge(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if let Some(directive) = fields.keys().find(|field| field.starts_with('$')) {
        return Err(ApiError::bad_request(format!("{directive}: strategic merge directives are not simulated")));
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (field, content) in fields {
        if content.is_null() {
            target.as_object_mut().and_then(|target| target.remove(field));
        } else {
            merge(&mut target[field], content)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_does_what_rfc_7386_says() {
        // Appendix A of the RFC, the cases with objects.
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge(&mut target, &patch).unwrap();
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn a_strategic_directive_is_refused() {
        assert_eq!(merge(&mut json!({}), &json!({"a": {"$patch": "delete"}})).unwrap_err().code, 400);
    }
}
