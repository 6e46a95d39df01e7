//! Answers: JSON, errors, and the forms in which objects are sent.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::error::ApiError;
use super::kind::Kind;
use super::object::Object;
use super::request::Shape;

/// A body of any length.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer with a JSON body.
pub(super) fn json_bytes(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    json_body(status, Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

/// An answer with a JSON body that may be long.
pub(super) fn json_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that is a value.
pub(super) fn json_value(status: StatusCode, value: &Value) -> Response<Body> {
    json_bytes(status, value.to_string())
}

/// A refusal, with `Retry-After` where it says one.
pub(super) fn refusal(error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = error.status();
    let mut response = json_value(status, &body);
    if let Some(seconds) = body["details"]["retryAfterSeconds"].as_u64() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

impl Shape {
    /// An object by itself.
    pub fn object(self, object: &Object) -> Bytes {
        match self {
            Self::Full => object.bytes(),
            Self::Metadata => {
                let mut out = Vec::with_capacity(object.metadata().len() + 96);
                self.append(&mut out, object);
                out.into()
            }
        }
    }

    /// [`Self::object`], at the end of something.
    pub(super) fn append(self, out: &mut Vec<u8>, object: &Object) {
        match self {
            Self::Full => out.extend_from_slice(&object.bytes()),
            Self::Metadata => {
                out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
                out.extend_from_slice(object.metadata());
                out.push(b'}');
            }
        }
    }

    /// An object in a list: built-in kinds leave their type to the list.
    pub(super) fn append_item(self, out: &mut Vec<u8>, kind: Kind, object: &Object) {
        if self == Self::Metadata || kind.facts().custom {
            self.append(out, object);
        } else {
            out.push(b'{');
            out.extend_from_slice(object.after_type());
        }
    }

    /// `apiVersion` and `kind` of an object in this form.
    pub(super) fn type_of(self, kind: Kind) -> (String, &'static str) {
        match self {
            Self::Full => (kind.facts().api_version(), kind.facts().kind),
            Self::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
        }
    }

    /// A bookmark at a revision.
    pub(super) fn bookmark(self, kind: Kind, revision: u64, initial_events_end: bool) -> Value {
        let (api_version, name) = self.type_of(kind);
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({"kind": name, "apiVersion": api_version, "metadata": metadata});
        // A real server sends an empty object of the kind, and typed clients need the fields that are required.
        if self == Self::Full {
            fill_required(kind, &mut object);
        }
        object
    }
}

fn fill_required(kind: Kind, object: &mut Value) {
    match kind {
        Kind::EndpointSlice => {
            object["addressType"] = "".into();
            object["endpoints"] = Value::Null;
            object["ports"] = Value::Null;
        }
        Kind::CoreEvent => object["involvedObject"] = json!({}),
        Kind::Event => object["eventTime"] = Value::Null,
        Kind::KIngress | Kind::Ingress | Kind::IngressClass | Kind::Service | Kind::Lease => object["spec"] = json!({}),
        Kind::Secret | Kind::ConfigMap | Kind::Pod | Kind::Namespace => {}
    }
}
