//! The status of a KIngress, as far as it is compared with what it should be.
//!
//! Names and types follow Knative's (knative.dev/networking `ingress_types.go`, knative.dev/pkg `apis/condition_types.go`).

use serde::{Deserialize, Serialize};

use super::kingress::null_is_default;

/// What a KIngress' status says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIngressStatus {
    /// The generation of the specification that the rest is about.
    #[serde(deserialize_with = "null_is_default")]
    pub observed_generation: i64,
    /// Conditions, each type once.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<StatusCondition>,
    /// Where hosts are reached from outside the cluster.
    #[serde(deserialize_with = "null_is_default")]
    pub public_load_balancer: LoadBalancer,
    /// Where hosts are reached from inside the cluster.
    #[serde(deserialize_with = "null_is_default")]
    pub private_load_balancer: LoadBalancer,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCondition {
    /// `Ready`, …
    #[serde(rename = "type")]
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    #[serde(deserialize_with = "null_is_default")]
    pub reason: String,
    /// Why, for people.
    #[serde(deserialize_with = "null_is_default")]
    pub message: String,
    /// Since when.
    #[serde(deserialize_with = "null_is_default")]
    pub last_transition_time: String,
}

/// Where traffic is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Knative's Route takes exactly one.
    #[serde(deserialize_with = "null_is_default")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One place where traffic is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    /// By address.
    #[serde(rename = "ip", skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub address: String,
    /// By a name that resolves outside of the cluster.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domain: String,
    /// By a name that resolves inside of the cluster.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domain_internal: String,
    /// Whether through a service mesh only.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub mesh_only: bool,
}

impl LoadBalancer {
    /// One name inside the cluster.
    pub fn internal(domain: impl Into<String>) -> Self {
        Self { ingress: vec![LoadBalancerIngress { domain_internal: domain.into(), ..LoadBalancerIngress::default() }] }
    }
}
