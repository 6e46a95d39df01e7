//! What a backend saw of a request.

use hyper::Request;
use hyper::header::HOST;
use serde::{Deserialize, Serialize};

/// A request, as it arrived at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The backend's name.
    pub backend: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The scheme, if the request said one.
    pub scheme: Option<String>,
    /// `Host` or `:authority`.
    pub host: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: usize,
}

impl Seen {
    pub(super) fn of<B>(backend: &str, request: &Request<B>) -> Self {
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let uri = request.uri();
        let host = uri.authority().map(ToString::to_string).or_else(|| request.headers().get(HOST).map(text));
        Self {
            backend: backend.to_owned(),
            method: request.method().to_string(),
            target: uri.path_and_query().map_or_else(String::new, ToString::to_string),
            scheme: uri.scheme_str().map(ToOwned::to_owned),
            host: host.unwrap_or_default(),
            version: format!("{:?}", request.version()),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body_bytes: 0,
        }
    }

    /// The value of a header field, if there is exactly one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// How many header fields have this name.
    pub fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).count()
    }
}
