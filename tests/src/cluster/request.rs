//! What a request asks for: read from its path and query as an API server does.

use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderMap, Method, Uri, header};
use serde::Deserialize;

use super::error::ApiError;
use super::kind::Kind;

/// What is done to a resource, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// One object is read.
    Get,
    /// All objects are read.
    List,
    /// Changes are followed.
    Watch,
    /// An object is made.
    Create,
    /// An object is replaced.
    Update,
    /// An object is changed.
    Patch,
    /// An object is deleted.
    Delete,
    /// All objects are deleted.
    DeleteCollection,
}

impl Verb {
    /// As RBAC writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// In which form objects are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// As they are.
    Full,
    /// As `PartialObjectMetadata`.
    Metadata,
}

/// A request about objects.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// What is done.
    pub verb: Verb,
    /// To which kind.
    pub kind: Kind,
    /// In which namespace; `None`: all of them, or a cluster-wide kind.
    pub namespace: Option<String>,
    /// To which object.
    pub name: Option<String>,
    /// Whether to the status subresource.
    pub status: bool,
    /// In which form the answer is wanted.
    pub shape: Shape,
    /// The query.
    pub query: Query,
    /// The `Content-Type` of the body.
    pub content_type: String,
}

/// The parameters of a query.
#[derive(Clone, Debug, Default)]
pub struct Query(HashMap<String, String>);

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A parameter that is true or false.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    /// A parameter that is a number; `None` where there is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse();
        number.map(Some).map_err(|_| ApiError::bad_request(format!("{name}: Invalid value: \"{text}\"")))
    }

    /// `timeoutSeconds`.
    pub fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        Ok(self.number("timeoutSeconds")?.map(Duration::from_secs))
    }
}

impl ApiRequest {
    /// Reads method, path, query and headers.
    pub fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        let place = Place::parse(uri.path()).ok_or_else(ApiError::no_such_path)?;
        let query = Query::parse(uri.query().unwrap_or_default());
        let verb = verb(method, place.name.is_some(), &query).ok_or_else(|| {
            ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        })?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let shape =
            if text(header::ACCEPT).contains("as=PartialObjectMetadata") { Shape::Metadata } else { Shape::Full };
        Ok(Self {
            verb,
            kind: place.kind,
            namespace: place.namespace,
            name: place.name,
            status: place.status,
            shape,
            query,
            content_type: text(header::CONTENT_TYPE).to_owned(),
        })
    }

    /// `secrets`, or `ingresses/status`.
    pub fn resource(&self) -> String {
        let plural = self.kind.facts().plural;
        if self.status { format!("{plural}/status") } else { plural.to_owned() }
    }

    /// The one object that the request is about: a list or a watch is about the one that its field selector names, as
    /// `resourceNames` of a rule are compared (apiserver, `RequestInfo`).
    pub fn object_name(&self) -> Option<&str> {
        let selected = || {
            let terms = self.query.text("fieldSelector").split(',');
            terms.filter_map(|term| term.strip_prefix("metadata.name=")).map(|name| name.trim_start_matches('=')).next()
        };
        self.name.as_deref().or_else(selected)
    }
}

/// A path, taken apart.
struct Place {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
    status: bool,
}

impl Place {
    fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // A namespace's own status is at the place of a kind in the namespace.
        let (namespace, plural, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => (None, "namespaces", &rest[1..]),
            ["namespaces", namespace, plural, rest @ ..] => (Some((*namespace).to_owned()), *plural, rest),
            [plural, rest @ ..] => (None, *plural, rest),
            [] => return None,
        };
        let kind = Kind::of_resource(group, version, plural)?;
        let (name, status) = match rest {
            [] => (None, false),
            [name] => (Some((*name).to_owned()), false),
            [name, "status"] if kind.facts().has_status => (Some((*name).to_owned()), true),
            _ => return None,
        };
        // An object of a namespace cannot be reached without it.
        let reachable = name.is_none() || namespace.is_some() == kind.facts().namespaced;
        reachable.then_some(Self { kind, namespace, name, status })
    }
}

fn verb(method: &Method, named: bool, query: &Query) -> Option<Verb> {
    Some(match (method.as_str(), named) {
        ("GET", true) => Verb::Get,
        ("GET", false) if query.is_true("watch") => Verb::Watch,
        ("GET", false) => Verb::List,
        ("POST", false) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, uri: &str) -> Result<ApiRequest, ApiError> {
        ApiRequest::parse(method, &uri.parse().unwrap(), &HeaderMap::new())
    }

    #[test]
    fn paths_say_kind_namespace_name_and_subresource() {
        let status = "/apis/networking.internal.knative.dev/v1alpha1/namespaces/ns/ingresses/shop/status";
        let request = parse(&Method::PATCH, status).unwrap();
        assert_eq!((request.verb, request.kind, request.status), (Verb::Patch, Kind::KIngress, true));
        assert_eq!((request.namespace.as_deref(), request.name.as_deref()), (Some("ns"), Some("shop")));
        let request =
            parse(&Method::GET, "/api/v1/secrets?watch=true&fieldSelector=type%3Dkubernetes.io%2Ftls").unwrap();
        assert_eq!((request.verb, request.namespace, request.name), (Verb::Watch, None, None));
        assert_eq!(request.query.text("fieldSelector"), "type=kubernetes.io/tls");
        assert_eq!(parse(&Method::GET, "/api/v1/namespaces/ns").unwrap().name.as_deref(), Some("ns"));
    }

    #[test]
    fn unknown_paths_and_methods_are_refused() {
        for path in ["/api/v1/secrets/a", "/apis/apps/v1/deployments", "/api/v1/namespaces/ns/secrets/a/status", "/api"]
        {
            assert_eq!(parse(&Method::GET, path).unwrap_err().code, 404, "{path}");
        }
        assert_eq!(parse(&Method::POST, "/api/v1/namespaces/ns/secrets/a").unwrap_err().code, 405);
    }
}
