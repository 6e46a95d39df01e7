//! What creating, updating and deleting do to an object's metadata, generation and status.

use serde_json::{Value, json};

use super::clock::Clock;
use super::error::ApiError;
use super::kind::Kind;
use super::store::Step;

mod deletion;
#[cfg(test)]
mod tests;

pub use deletion::{Preconditions, delete};

/// Which part of an object a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where the kind has a status subresource.
    Main,
    /// The status and nothing else.
    Status,
    /// Everything: what a test may do and no client.
    All,
}

/// The object and the time that a write is about.
#[derive(Debug)]
pub struct Target<'a> {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for cluster-wide kinds.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The part that is written.
    pub part: Part,
    /// The API server's clock.
    pub clock: &'a Clock,
}

/// Metadata that clients cannot change.
const OWNED_BY_SERVER: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

impl Target<'_> {
    /// Stores an object that must not exist.
    pub fn create(&self, old: Option<&Value>, mut new: Value) -> Result<Step, ApiError> {
        if old.is_some() {
            return Err(ApiError::already_exists(self.kind, self.name));
        }
        if version_of(&new).is_some() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        self.check_identity(&new)?;
        self.name_it(&mut new);
        let facts = self.kind.facts();
        let created = text(&new["metadata"]["creationTimestamp"]).filter(|_| self.part == Part::All);
        for field in OWNED_BY_SERVER {
            remove(&mut new["metadata"], field);
        }
        let metadata = &mut new["metadata"];
        metadata["uid"] = uid().into();
        metadata["creationTimestamp"] = created.unwrap_or_else(|| self.clock.metadata_time()).into();
        if facts.has_generation {
            metadata["generation"] = 1.into();
        }
        if facts.has_status && self.part == Part::Main {
            remove(&mut new, "status");
        }
        Ok(Step::Put(new))
    }

    /// Replaces an object that must exist.
    pub fn update(&self, old: Option<Value>, mut new: Value) -> Result<Step, ApiError> {
        let old = old.ok_or_else(|| ApiError::not_found(self.kind, self.name))?;
        self.check_identity(&new)?;
        self.check_version(&old, &new)?;
        let new = match self.part {
            Part::Status => {
                let mut kept = old.clone();
                set_or_remove(&mut kept, "status", new["status"].take());
                kept
            }
            Part::Main if self.kind.facts().has_status => {
                set_or_remove(&mut new, "status", old["status"].clone());
                new
            }
            Part::Main | Part::All => new,
        };
        Ok(self.settle(&old, new))
    }

    /// Gives an updated object what the server owns, and lets it go if it only waited for its last finalizer.
    fn settle(&self, old: &Value, mut new: Value) -> Step {
        self.name_it(&mut new);
        for field in OWNED_BY_SERVER {
            set_or_remove(&mut new["metadata"], field, old["metadata"][field].clone());
        }
        if self.kind.facts().has_generation && differs_beyond_metadata_and_status(old, &new) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(1);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        let ends = deletion::is_terminating(old) && !deletion::has_finalizers(&new) && deletion::has_finalizers(old);
        if ends { Step::Remove(new) } else { Step::Put(new) }
    }

    fn name_it(&self, new: &mut Value) {
        new["metadata"]["name"] = self.name.into();
        if self.kind.facts().namespaced {
            new["metadata"]["namespace"] = self.namespace.into();
        }
    }

    fn check_identity(&self, new: &Value) -> Result<(), ApiError> {
        if !new.is_object() || !(new["metadata"].is_object() || new["metadata"].is_null()) {
            return Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"));
        }
        let facts = self.kind.facts();
        let says = |field: &Value, expected: &str| text(field).is_none_or(|text| text == expected);
        if !says(&new["apiVersion"], &facts.api_version()) || !says(&new["kind"], facts.kind) {
            let message = format!(
                "{} in version {} cannot be handled as a {} in version {}",
                new["kind"],
                new["apiVersion"],
                facts.kind,
                facts.api_version()
            );
            return Err(ApiError::bad_request(message));
        }
        if !says(&new["metadata"]["name"], self.name) {
            return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
        }
        if facts.namespaced && !says(&new["metadata"]["namespace"], self.namespace) {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(())
    }

    fn check_version(&self, old: &Value, new: &Value) -> Result<(), ApiError> {
        match version_of(new) {
            version @ Some(_) if version != version_of(old) => Err(ApiError::modified(self.kind, self.name)),
            None if self.kind.facts().conditional_update && self.part != Part::All => Err(ApiError::invalid(
                self.kind,
                self.name,
                "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            )),
            _ => match text(&new["metadata"]["uid"]) {
                Some(uid) if Some(&uid) != text(&old["metadata"]["uid"]).as_ref() => {
                    let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta differs");
                    Err(ApiError::conflict(self.kind, self.name, &why))
                }
                _ => Ok(()),
            },
        }
    }
}

/// A name for an object whose maker only gave a prefix.
pub fn generated_name(prefix: &str) -> String {
    // The letters and digits of Kubernetes' own generator: no vowels, so no words.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix = std::iter::repeat_with(|| char::from(LETTERS[fastrand::usize(..LETTERS.len())]));
    prefix.chars().chain(suffix.take(5)).collect()
}

/// A random UUID (RFC 9562 §5.4).
fn uid() -> String {
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    let version = (high & 0x0fff) | 0x4000;
    let variant = (low >> 48 & 0x3fff) | 0x8000;
    format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        low & 0xffff_ffff_ffff
    )
}

/// The `resourceVersion` of an object, unless it is empty or missing.
fn version_of(object: &Value) -> Option<String> {
    text(&object["metadata"]["resourceVersion"])
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}

fn set_or_remove(value: &mut Value, field: &str, content: Value) {
    if content.is_null() {
        remove(value, field);
    } else {
        value[field] = content;
    }
}

fn differs_beyond_metadata_and_status(old: &Value, new: &Value) -> bool {
    let spec = |object: &Value| {
        let mut object = object.clone();
        for field in ["apiVersion", "kind", "metadata", "status"] {
            remove(&mut object, field);
        }
        object
    };
    spec(old) != spec(new)
}

/// The JSON that a deletion leaves behind.
pub fn deletion_status(kind: Kind, name: &str, uid: &Value) -> Value {
    let facts = kind.facts();
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "group": facts.group, "kind": facts.plural, "uid": uid},
    })
}
