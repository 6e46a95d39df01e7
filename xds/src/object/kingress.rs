//! Knative's Ingress (`networking.internal.knative.dev/v1alpha1`), as far as a gateway reads it.
//!
//! The order of fields, and what is left out when empty, follow the Go type: [`KIngressSpec`]'s JSON is what Knative's
//! prober hashes (knative.dev/networking `pkg/ingress/ingress.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::status::KIngressStatus;

/// Knative's Ingress.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct KIngress {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: KIngressSpec,
    /// What has been said about it. Empty where the source has none, as a directory.
    #[serde(skip)]
    pub status: KIngressStatus,
}

/// What is wanted of a KIngress.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIngressSpec {
    /// Certificates, each for some hosts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub tls: Vec<KIngressTls>,
    /// Hosts and their paths.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub rules: Vec<KIngressRule>,
    /// What happens to plain HTTP. Empty, `Enabled` or `Redirected`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub http_option: String,
}

/// The values of `spec.httpOption`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpOption {
    /// HTTP is served.
    #[default]
    Enabled,
    /// HTTP is redirected to HTTPS.
    Redirected,
}

/// A certificate for some hosts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIngressTls {
    /// The hosts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub hosts: Vec<String>,
    /// The Secret's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub secret_name: String,
    /// The Secret's namespace.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub secret_namespace: String,
}

/// Hosts and their paths.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIngressRule {
    /// The hosts; none means every host.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub hosts: Vec<String>,
    /// `ExternalIP` (also when empty) or `ClusterLocal`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub visibility: String,
    /// The paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRule>,
}

/// The paths of a rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HttpRule {
    /// The paths; Go's nil slice is `null`.
    pub paths: Option<Vec<HttpPath>>,
}

/// One path and where its requests go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPath {
    /// Path prefix; empty means every path.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub path: String,
    /// The authority that the upstream sees.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub rewrite_host: String,
    /// Header conditions by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub headers: BTreeMap<String, HeaderExact>,
    /// Candidates; Go's nil slice is `null`.
    pub splits: Option<Vec<KIngressSplit>>,
    /// Request headers to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub append_headers: BTreeMap<String, String>,
}

/// A header condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HeaderExact {
    /// The value; empty means presence.
    #[serde(deserialize_with = "null_is_default")]
    pub exact: String,
}

/// A candidate and its share of the requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIngressSplit {
    /// The Service's namespace.
    #[serde(deserialize_with = "null_is_default")]
    pub service_namespace: String,
    /// The Service's name.
    #[serde(deserialize_with = "null_is_default")]
    pub service_name: String,
    /// The Service's port, by number or name.
    #[serde(deserialize_with = "null_is_default")]
    pub service_port: ServicePort,
    /// Percent of the requests.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub percent: i64,
    /// Request headers to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub append_headers: BTreeMap<String, String>,
}

/// A Service's port, by number or name (Kubernetes' `IntOrString`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum ServicePort {
    /// By number.
    Number(i32),
    /// By name.
    Name(Arc<str>),
}

impl Default for ServicePort {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Go reads `null` as the zero value.
pub(super) fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}
