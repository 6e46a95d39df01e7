//! Secrets as they are written: `data` in base64, `stringData` as it is. Everything here is wiped when dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::input::{Input, ParseError};
use super::kind::{Content, Names, content};
use crate::object::ObjectKind;

/// A Secret with its data.
pub(super) struct SecretDocument {
    pub(super) names: Names,
    pub(super) secret_type: Option<Arc<str>>,
    /// The decoded data by key.
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// A Secret as text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Names>,
    #[serde(rename = "type")]
    secret_type: Option<Arc<str>>,
    #[serde(default)]
    data: Option<BTreeMap<String, Option<Private>>>,
    #[serde(default)]
    string_data: Option<BTreeMap<String, Option<Private>>>,
}

/// A text that is wiped when dropped.
#[derive(Deserialize)]
struct Private(String);

impl Drop for Private {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl SecretDocument {
    /// Reads a Secret. An error never repeats anything of the document but names of fields.
    pub(super) fn parse(input: Input<'_>, in_typed_list: bool) -> Result<Self, ParseError> {
        let written: Written = input.parse().map_err(ParseError::without_content)?;
        let said = written.api_version.as_deref().zip(written.kind.as_deref());
        let is_secret = said.is_some_and(|(api, kind)| content(api, kind) == Content::Object(ObjectKind::Secret));
        let is_implied = in_typed_list && said.is_none();
        if !is_secret && !is_implied {
            return Err(ParseError::new(None, "is not a v1 Secret"));
        }
        let mut data = BTreeMap::new();
        for (key, value) in written.data.unwrap_or_default() {
            data.insert(key.clone(), decode(&key, value.as_ref())?);
        }
        for (key, value) in written.string_data.unwrap_or_default() {
            let bytes = value.map_or_else(Vec::new, |value| value.0.clone().into_bytes());
            data.insert(key, Zeroizing::new(bytes));
        }
        Ok(Self { names: written.metadata.unwrap_or_default(), secret_type: written.secret_type, data })
    }

    /// Changes whenever type or data do, and only then; the same in every process.
    pub(super) fn version(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.secret_type.as_deref().unwrap_or_default());
        for (key, value) in &self.data {
            for part in [key.as_bytes(), value.as_slice()] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let digest = hash.finalize();
        digest.iter().take(8).fold(0, |version, &byte| version << 8 | u64::from(byte))
    }

    /// Takes the value of a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.data.remove(key)
    }
}

/// Decodes a value of `data`; line breaks are skipped, as Kubernetes does.
fn decode(key: &str, value: Option<&Private>) -> Result<Zeroizing<Vec<u8>>, ParseError> {
    let text = value.map_or("", |value| value.0.as_str());
    // With all its room from the start: growing would leave copies behind.
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(packed.len())]);
    let length = STANDARD.decode_slice(&*packed, &mut bytes).map_err(|error| {
        let what = match error {
            base64::DecodeSliceError::DecodeError(base64::DecodeError::InvalidByte(at, _)) => {
                format!("is not base64 (standard alphabet, padded) from character {} on", at + 1)
            }
            _ => "is not base64 (standard alphabet, padded)".to_owned(),
        };
        ParseError::new(Some(format!("data.{key}")), format!("{what}; plain text belongs into stringData"))
    })?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Wipes the texts of a value that has held a Secret.
pub(super) fn wipe(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.zeroize(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(wipe),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SecretDocument, ParseError> {
        SecretDocument::parse(Input::Yaml(text), false)
    }

    const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";

    #[test]
    fn string_data_wins_over_data() {
        let mut secret = parse(&format!("{HEAD}data: {{a: YQ==, b: Yg==}}\nstringData: {{a: x}}\n")).unwrap();
        assert_eq!(secret.take("a").unwrap().as_slice(), b"x");
        assert_eq!(secret.take("b").unwrap().as_slice(), b"b");
        assert!(secret.take("c").is_none());
    }

    #[test]
    fn base64_may_be_broken_into_lines() {
        let mut secret = parse(&format!("{HEAD}data:\n  a: |\n    aGVs\n    bG8=\n")).unwrap();
        assert_eq!(secret.take("a").unwrap().as_slice(), b"hello");
    }

    #[test]
    fn the_version_depends_on_type_and_data_only() {
        let of = |text: &str| parse(text).map(|secret| secret.version()).unwrap();
        let base = of(&format!("{HEAD}data: {{a: YQ==}}\n"));
        assert_eq!(base, of("kind: Secret\napiVersion: v1\nmetadata: {name: a, labels: {x: y}}\nstringData: {a: a}\n"));
        assert_ne!(base, of(&format!("{HEAD}data: {{a: Yg==}}\n")));
        assert_ne!(base, of(&format!("{HEAD}data: {{b: YQ==}}\n")));
        assert_ne!(base, of(&format!("{HEAD}type: kubernetes.io/tls\ndata: {{a: YQ==}}\n")));
    }

    #[test]
    fn an_error_repeats_nothing_of_the_data() {
        for data in ["data: {tls.key: [hunter2]}", "data: hunter2", "data: {tls.key: hunter2}", "stringData: [hunter2]"]
        {
            let error = parse(&format!("{HEAD}{data}\n")).err().unwrap();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            assert!(error.field.is_some(), "{error:?}");
        }
    }
}
