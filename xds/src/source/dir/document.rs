//! One document to the objects in it.

use std::hash::BuildHasher;

use super::input::{Input, ParseError};
use super::kind::{self, Content, Header};
use super::secret_document::{self, SecretDocument};
use super::typed::{self, Loaded};
use crate::object::{ObjectKey, ObjectKind, ObjectRef};

/// The namespace of a namespaced object that names none.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// What was found in a document.
#[derive(Debug)]
pub(super) enum Found {
    /// An object.
    Object {
        /// The position in a list, counted from 1; 0 for a document that is the object.
        item: u32,
        /// Differs when the text of the object does.
        fingerprint: u64,
        /// The object.
        loaded: Loaded,
    },
    /// An object that can be named, but not used.
    Broken {
        /// What it is.
        key: ObjectKey,
        /// What is wrong.
        error: ParseError,
    },
    /// Something of which cannot be said what it is: it may stand for any object of the file.
    Unreadable(ParseError),
    /// A kind that is not read.
    PassedOver {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
}

/// A document that is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) json: bool,
}

impl<'a> Text<'a> {
    pub(super) fn input(self) -> Input<'a> {
        if self.json { Input::Json(self.text) } else { Input::Yaml(self.text) }
    }

    /// Differs when the text does.
    pub(super) fn fingerprint(self, hasher: &impl BuildHasher) -> u64 {
        nonzero(hasher.hash_one(self.text))
    }

    /// What the document says it is, if that can be told without parsing all of it.
    fn hint(self) -> Option<(&'a str, &'a str)> {
        if self.json { None } else { kind::hint(self.text) }
    }
}

/// Zero stands for "nothing said yet" in the index.
fn nonzero(hash: u64) -> u64 {
    hash.max(1)
}

/// Reads a document and hands everything in it to `found`.
pub(super) fn read(text: Text<'_>, hasher: &impl BuildHasher, found: &mut impl FnMut(Found)) {
    if let Some((api_version, kind)) = text.hint() {
        match kind::content(api_version, kind) {
            Content::Object(kind) => {
                if let Ok(loaded) = typed::load(kind, text.input(), false) {
                    return found(Found::Object { item: 0, fingerprint: text.fingerprint(hasher), loaded });
                }
            }
            Content::Other => return found(passed_over(api_version, kind)),
            Content::List(_) => {}
        }
    }
    let header = match text.input().parse::<Header>() {
        Ok(header) => header,
        Err(error) => return found(Found::Unreadable(not_an_object(error))),
    };
    let (Some(api_version), Some(kind)) = (&header.api_version, &header.kind) else {
        let field = if header.kind.is_none() { "kind" } else { "apiVersion" };
        return found(Found::Unreadable(ParseError::new(
            Some(field.to_owned()),
            "is missing: expected a Kubernetes object with apiVersion, kind and metadata",
        )));
    };
    match kind::content(api_version, kind) {
        Content::Object(kind) => match typed::load(kind, text.input(), false) {
            Ok(loaded) => found(Found::Object { item: 0, fingerprint: text.fingerprint(hasher), loaded }),
            Err(error) => found(broken(kind, &header, error)),
        },
        Content::List(kind) => read_list(text, kind, hasher, found),
        Content::Other => found(passed_over(api_version, kind)),
    }
}

/// The part of a list that is read.
#[derive(serde::Deserialize)]
struct List {
    items: Option<Vec<serde_json::Value>>,
}

fn read_list(text: Text<'_>, kind: Option<ObjectKind>, hasher: &impl BuildHasher, found: &mut impl FnMut(Found)) {
    let list: List = match text.input().parse_untyped() {
        Ok(list) => list,
        Err(error) => return found(Found::Unreadable(error.without_content())),
    };
    for (number, mut item) in (1..).zip(list.items.unwrap_or_default()) {
        found(read_item(number, &item, kind, hasher));
        secret_document::wipe(&mut item);
    }
}

fn read_item(number: u32, item: &serde_json::Value, of: Option<ObjectKind>, hasher: &impl BuildHasher) -> Found {
    let within = |error: ParseError| error.within(&format!("items[{}]", number - 1));
    let input = Input::Value(item);
    let header = match input.parse::<Header>() {
        Ok(header) => header,
        Err(error) => return Found::Unreadable(within(not_an_object(error))),
    };
    let kind = match (&header.api_version, &header.kind, of) {
        (Some(api_version), Some(kind), _) => match kind::content(api_version, kind) {
            Content::Object(kind) => kind,
            _ => return passed_over(api_version, kind),
        },
        (None, None, Some(kind)) => kind,
        _ => {
            let message = "is not a Kubernetes object: expected apiVersion, kind and metadata";
            return Found::Unreadable(within(ParseError::new(None, message)));
        }
    };
    match typed::load(kind, input, of.is_some()) {
        Ok(loaded) => Found::Object { item: number, fingerprint: nonzero(hasher.hash_one(item)), loaded },
        Err(error) => broken(kind, &header, within(error)),
    }
}

fn passed_over(api_version: &str, kind: &str) -> Found {
    Found::PassedOver { api_version: api_version.to_owned(), kind: kind.to_owned() }
}

/// An object that has a name is broken; one without is unreadable.
fn broken(kind: ObjectKind, header: &Header, error: ParseError) -> Found {
    let names = header.metadata.clone().unwrap_or_default();
    match object_ref(kind, names.namespace.as_deref(), names.name.as_deref()) {
        Ok(object) => Found::Broken { key: ObjectKey { kind, object }, error },
        Err(_) => Found::Unreadable(error),
    }
}

/// A message of the parser about something that is not known to be harmless is replaced.
fn not_an_object(error: ParseError) -> ParseError {
    if error.quotes_content {
        let message = "is not a Kubernetes object: expected a mapping with apiVersion, kind and metadata";
        ParseError { message: message.to_owned(), quotes_content: false, ..error }
    } else {
        error
    }
}

/// Checks and completes the names of an object.
pub(super) fn object_ref(
    kind: ObjectKind,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<ObjectRef, ParseError> {
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ParseError::new(Some("metadata.name".to_owned()), "is missing"))?;
    check_name("metadata.name", name, 253)?;
    if kind == ObjectKind::IngressClass {
        return Ok(ObjectRef::new("", name));
    }
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(DEFAULT_NAMESPACE);
    check_name("metadata.namespace", namespace, 63)?;
    Ok(ObjectRef::new(namespace, name))
}

/// Names are DNS subdomains (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
fn check_name(field: &str, name: &str, longest: usize) -> Result<(), ParseError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if name.len() <= longest && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!("is not a name: expected at most {longest} of lower-case letters, digits, `-` and `.`");
    Err(ParseError::new(Some(field.to_owned()), message))
}

/// Reads a Secret of which it is known that it is this document. `None` if it is not.
pub(super) fn secret_in(text: Text<'_>, object: &ObjectRef) -> Option<Result<SecretDocument, ParseError>> {
    match SecretDocument::parse(text.input(), false) {
        Ok(secret) => is_named(&secret, object).then_some(Ok(secret)),
        Err(error) => names_secret(text.input(), object).then_some(Err(error)),
    }
}

/// Looks for a Secret in a document that may hold anything.
pub(super) fn find_secret(text: Text<'_>, object: &ObjectRef) -> Option<Result<SecretDocument, ParseError>> {
    let content = text.hint().map(|(api_version, kind)| kind::content(api_version, kind));
    let list = matches!(content, None | Some(Content::List(None | Some(ObjectKind::Secret))));
    let secret = matches!(content, None | Some(Content::Object(ObjectKind::Secret)));
    let alone = if secret { secret_in(text, object) } else { None };
    alone.or_else(|| if list { secret_in_list(text, object) } else { None })
}

fn secret_in_list(text: Text<'_>, object: &ObjectRef) -> Option<Result<SecretDocument, ParseError>> {
    let mut items = text.input().parse_untyped::<List>().ok()?.items?;
    let secrets = items.iter().map(|value| SecretDocument::parse(Input::Value(value), true));
    let found = secrets.flatten().find(|secret| is_named(secret, object));
    items.iter_mut().for_each(secret_document::wipe);
    found.map(Ok)
}

fn is_named(secret: &SecretDocument, object: &ObjectRef) -> bool {
    object_ref(ObjectKind::Secret, secret.names.namespace.as_deref(), secret.names.name.as_deref())
        .is_ok_and(|found| found == *object)
}

fn names_secret(input: Input<'_>, object: &ObjectRef) -> bool {
    let Ok(Header { api_version: Some(api_version), kind: Some(kind), metadata: Some(names) }) = input.parse() else {
        return false;
    };
    kind::content(&api_version, &kind) == Content::Object(ObjectKind::Secret)
        && object_ref(ObjectKind::Secret, names.namespace.as_deref(), names.name.as_deref())
            .is_ok_and(|found| found == *object)
}
