//! Label and field selectors.

use std::collections::HashMap;

use super::error::ApiError;
use super::kind::Kind;
use super::object::{Object, split_key};

/// Which objects a request is about. The default: all.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    /// Holds for objects without the label too.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

#[derive(Clone, Debug)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = split_outside_parentheses(labels).map(label_requirement).collect::<Result<_, _>>()?;
        let fields = fields.split(',').filter(|part| !part.is_empty());
        let fields = fields.map(|part| field_requirement(kind, part)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether every object suits.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object suits.
    pub fn matches(&self, key: &str, object: &Object) -> bool {
        self.fields.iter().all(|field| field.matches(key, object))
            && (self.labels.is_empty() || {
                let labels = object.labels();
                self.labels.iter().all(|requirement| requirement.matches(&labels))
            })
    }
}

impl Requirement {
    fn matches(&self, labels: &HashMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, key: &str, object: &Object) -> bool {
        let (namespace, name) = split_key(key);
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let equal = match path[..] {
            ["metadata", "name"] => name == self.value,
            ["metadata", "namespace"] => namespace == self.value,
            _ => object.text(&path) == self.value,
        };
        equal == self.equal
    }
}

fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn label_requirement(text: &str) -> Result<Requirement, ApiError> {
    let (label, condition) = if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Test::In(vec![value.trim_start_matches('=').trim().to_owned()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Test::DoesNotExist)
    } else if let Some((key, values)) = text.split_once(" notin ") {
        (key, Test::NotIn(set(values)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Test::In(set(values)))
    } else {
        (text, Test::Exists)
    };
    let key = label.trim();
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "()=!,".contains(c)) {
        return Err(ApiError::bad_request(format!("unable to parse requirement: invalid label selector \"{text}\"")));
    }
    Ok(Requirement { key: key.to_owned(), test: condition })
}

fn set(text: &str) -> Vec<String> {
    text.trim().trim_matches(['(', ')']).split(',').map(|value| value.trim().to_owned()).collect()
}

fn field_requirement(kind: Kind, text: &str) -> Result<FieldRequirement, ApiError> {
    let (field, value, equal) = if let Some((field, value)) = text.split_once("!=") {
        (field, value, false)
    } else {
        let invalid = || ApiError::bad_request(format!("invalid field selector: \"{text}\""));
        let (field, value) = text.split_once('=').ok_or_else(invalid)?;
        (field, value.trim_start_matches('='), true)
    };
    let supported = match field {
        "metadata.name" => true,
        "metadata.namespace" => kind.facts().namespaced,
        "type" => matches!(kind, Kind::Secret | Kind::CoreEvent),
        "status.phase" => matches!(kind, Kind::Pod | Kind::Namespace),
        "spec.nodeName" => kind == Kind::Pod,
        "reason" => matches!(kind, Kind::CoreEvent | Kind::Event),
        _ => {
            (kind == Kind::CoreEvent && field.starts_with("involvedObject."))
                || (kind == Kind::Event && field.starts_with("regarding."))
        }
    };
    if !supported {
        return Err(ApiError::bad_request(format!("field label not supported: {field}")));
    }
    let path = field.split('.').map(ToOwned::to_owned).collect();
    Ok(FieldRequirement { path, value: value.to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(labels: &serde_json::Value) -> Object {
        let mut value = json!({"metadata": {"name": "a", "labels": labels}, "type": "kubernetes.io/tls"});
        Object::encode(Kind::Secret, 1, &mut value)
    }

    #[test]
    fn every_form_of_label_requirement_is_understood() {
        let object = secret(&json!({"env": "prod", "tier": "web"}));
        let cases = [
            ("env=prod", true),
            ("env==prod,tier=web", true),
            ("env=prod,tier=db", false),
            ("env!=prod", false),
            ("absent!=prod", true),
            ("env in (dev, prod)", true),
            ("env in (dev,prod),tier notin (db,cache)", true),
            ("tier notin (web)", false),
            ("env", true),
            ("!env", false),
            ("!absent", true),
            ("absent", false),
        ];
        for (text, expected) in cases {
            let selector = Selector::parse(Kind::Secret, text, "").unwrap();
            assert_eq!(selector.matches("ns/a", &object), expected, "{text}");
        }
    }

    #[test]
    fn fields_are_compared_and_unknown_ones_refused() {
        let object = secret(&json!({}));
        for (text, expected) in [
            ("type=kubernetes.io/tls", true),
            ("type!=kubernetes.io/tls", false),
            ("metadata.name=a,metadata.namespace=ns", true),
            ("metadata.name=b", false),
        ] {
            let selector = Selector::parse(Kind::Secret, "", text).unwrap();
            assert_eq!(selector.matches("ns/a", &object), expected, "{text}");
        }
        assert_eq!(Selector::parse(Kind::Service, "", "type=x").unwrap_err().code, 400);
    }
}
