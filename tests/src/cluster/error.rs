//! What the API answers when it refuses: `Status` objects with the texts of a real API server.

use serde_json::{Value, json};

use super::kind::Kind;

/// A refusal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// The `reason` of the Status.
    pub reason: &'static str,
    /// The text.
    pub message: String,
    /// `details` of the Status, if there are any.
    pub details: Option<Box<Value>>,
    /// A token with which a list can go on all the same.
    pub continue_token: Option<String>,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(kind: Kind, name: &str, code: u16, reason: &'static str, message: String) -> Self {
        let facts = kind.facts();
        let mut details = json!({"name": name, "kind": facts.plural});
        if !facts.group.is_empty() {
            details["group"] = facts.group.into();
        }
        Self { details: Some(Box::new(details)), ..Self::new(code, reason, message) }
    }

    /// There is no such object.
    pub fn not_found(kind: Kind, name: &str) -> Self {
        Self::about(kind, name, 404, "NotFound", format!("{kind} \"{name}\" not found"))
    }

    /// There is no such path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// The name is taken.
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        Self::about(kind, name, 409, "AlreadyExists", format!("{kind} \"{name}\" already exists"))
    }

    /// The object is another one, or another version, than the caller believes.
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
        Self::about(kind, name, 409, "Conflict", message)
    }

    /// The caller wrote over a version that is not the latest.
    pub fn modified(kind: Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// The object, or a parameter, is not acceptable.
    pub fn invalid(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{}.{} \"{name}\" is invalid: {why}", kind.facts().kind, kind.facts().group);
        Self::about(kind, name, 422, "Invalid", message.replacen(". \"", " \"", 1))
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The history from there on is no longer kept.
    pub fn gone(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// A continue token that is too old; `inconsistent` continues from the same place in the present state.
    pub fn expired_continue(inconsistent: Option<String>) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start \
                       a new list without the continue parameter, or use the continue token in this response to \
                       retrieve the remainder of the results. Continuing with the provided token results in an \
                       inconsistent list - objects that were created, modified, or deleted between the time the \
                       first chunk was returned and now may show up in the list.";
        Self { continue_token: inconsistent, ..Self::new(410, "Expired", message) }
    }

    /// The caller has seen a version that this server doesn't know of yet.
    pub fn from_the_future(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        Self { details: Some(Box::new(details)), ..Self::new(504, "Timeout", message) }
    }

    /// The Status object.
    pub fn status(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = token.as_str().into();
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = (**details).clone();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_a_real_api_server() {
        let kingress = ApiError::not_found(Kind::KIngress, "shop");
        assert_eq!(kingress.message, "ingresses.networking.internal.knative.dev \"shop\" not found");
        assert_eq!(ApiError::already_exists(Kind::Secret, "a").message, "secrets \"a\" already exists");
        assert_eq!(ApiError::invalid(Kind::Secret, "a", "why").message, "Secret \"a\" is invalid: why");
        assert_eq!(
            ApiError::invalid(Kind::Lease, "a", "why").message,
            "Lease.coordination.k8s.io \"a\" is invalid: why"
        );
    }
}
