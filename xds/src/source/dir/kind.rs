//! Which kinds are read, and what a document says it is.

use serde::Deserialize;

use crate::object::ObjectKind;

/// What a document holds, by its `apiVersion` and `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// One object of a kind that is read.
    Object(ObjectKind),
    /// A list: of one kind, or of any if the items say themselves what they are.
    List(Option<ObjectKind>),
    /// Something that is passed over.
    Other,
}

/// `apiVersion` and `kind` of everything that is read.
const KINDS: [(&str, &str, ObjectKind); 7] = [
    ("v1", "ConfigMap", ObjectKind::ConfigMap),
    ("v1", "Secret", ObjectKind::Secret),
    ("v1", "Service", ObjectKind::Service),
    ("discovery.k8s.io/v1", "EndpointSlice", ObjectKind::EndpointSlice),
    ("networking.k8s.io/v1", "Ingress", ObjectKind::Ingress),
    ("networking.k8s.io/v1", "IngressClass", ObjectKind::IngressClass),
    ("networking.internal.knative.dev/v1alpha1", "Ingress", ObjectKind::KIngress),
];

/// Recognizes a kind.
pub(super) fn content(api_version: &str, kind: &str) -> Content {
    let lookup = |kind: &str| KINDS.iter().find(|known| known.0 == api_version && known.1 == kind).map(|known| known.2);
    if let Some(kind) = lookup(kind) {
        return Content::Object(kind);
    }
    match kind.strip_suffix("List") {
        Some("") if api_version == "v1" => Content::List(None),
        Some(item) => lookup(item).map_or(Content::Other, |kind| Content::List(Some(kind))),
        None => Content::Other,
    }
}

/// What identifies an object; everything else in it is skipped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Header {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) metadata: Option<Names>,
}

/// The part of the metadata that identifies an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Names {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
}

/// Finds `apiVersion` and `kind` of a YAML document in block style without parsing it. `None` when in doubt; the
/// answer is checked again where the document is parsed.
pub(super) fn hint(text: &str) -> Option<(&str, &str)> {
    let (mut api_version, mut kind) = (None, None);
    for line in text.lines() {
        let found = match line.as_bytes().first() {
            Some(b'a') => line.strip_prefix("apiVersion:").map(|value| (&mut api_version, value)),
            Some(b'k') => line.strip_prefix("kind:").map(|value| (&mut kind, value)),
            Some(b'-') if line.trim_start_matches('-').trim().is_empty() => None,
            Some(b'-' | b'{' | b'[' | b'"' | b'\'' | b'?' | b'!' | b'&' | b'*' | b'%') => return None,
            _ => None,
        };
        if let Some((slot, value)) = found
            && slot.replace(plain(value)?).is_some()
        {
            return None;
        }
    }
    api_version.zip(kind)
}

/// The value of a simple scalar on one line, as kinds and API versions are written.
fn plain(value: &str) -> Option<&str> {
    let value = value.strip_prefix(' ')?.trim();
    let value = value.split_once(" #").map_or(value, |(value, _)| value.trim_end());
    let inner = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-');
    (!inner.is_empty() && inner.bytes().all(simple)).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_its_list_is_recognized() {
        for (api_version, kind, object) in KINDS {
            assert_eq!(content(api_version, kind), Content::Object(object));
            assert_eq!(content(api_version, &format!("{kind}List")), Content::List(Some(object)));
        }
        assert_eq!(content("v1", "List"), Content::List(None));
        assert_eq!(content("apps/v1", "List"), Content::Other);
        assert_eq!(content("v1", "Ingress"), Content::Other);
        assert_eq!(content("apps/v1", "Deployment"), Content::Other);
    }

    #[test]
    fn a_hint_is_found_in_any_order_and_with_quotes_and_comments() {
        for text in [
            "apiVersion: v1\nkind: Secret\n",
            "---\nkind: 'Secret' # here\nmetadata: {}\napiVersion: \"v1\"\n",
            "# x\n\nmetadata:\n  kind: no\nkind: Secret\r\napiVersion: v1\r\n",
        ] {
            assert_eq!(hint(text), Some(("v1", "Secret")), "{text:?}");
        }
    }

    #[test]
    fn there_is_no_hint_when_in_doubt() {
        for text in [
            "",
            "kind: Secret\n",
            "{apiVersion: v1, kind: Secret}\n",
            "--- {apiVersion: v1}\nkind: Secret\n",
            "apiVersion: v1\nkind: Secret\nkind: Service\n",
            "apiVersion: v1\nkind: &a Secret\n",
            "apiVersion: v1\nkind:\n  Secret\n",
        ] {
            assert_eq!(hint(text), None, "{text:?}");
        }
    }
}
