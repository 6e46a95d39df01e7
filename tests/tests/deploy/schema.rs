//! Every object against the types of the Kubernetes API.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{IngressClass, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_tests::{Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rendered::{Rendered, variants};

/// What is used of a kind that Kubernetes itself does not have (`monitoring.coreos.com/v1`).
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitor {
    api_version: String,
    kind: String,
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    spec: ServiceMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ServiceMonitorSpec {
    selector: LabelSelector,
    endpoints: Vec<MonitorEndpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MonitorEndpoint {
    port: String,
    path: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrometheusRule {
    api_version: String,
    kind: String,
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    spec: PrometheusRuleSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRuleSpec {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RuleGroup {
    name: String,
    rules: Vec<AlertRule>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AlertRule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn check(object: &Value) -> Result<()> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") => round_trip::<ConfigMap>(object),
        ("v1", "Namespace") => round_trip::<Namespace>(object),
        ("v1", "Service") => round_trip::<Service>(object),
        ("v1", "ServiceAccount") => round_trip::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => round_trip::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => round_trip::<HorizontalPodAutoscaler>(object),
        ("policy/v1", "PodDisruptionBudget") => round_trip::<PodDisruptionBudget>(object),
        ("networking.k8s.io/v1", "IngressClass") => round_trip::<IngressClass>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => round_trip::<NetworkPolicy>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => round_trip::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => round_trip::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => round_trip::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => round_trip::<RoleBinding>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => round_trip::<ServiceMonitor>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => round_trip::<PrometheusRule>(object),
        (api_version, kind) => Err(format!("{api_version} {kind} is not a kind that is expected here").into()),
    }
}

/// Reading drops what the type does not know, so whatever is missing afterwards is not in the schema.
fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) -> Result<()> {
    let typed: T = serde_path_to_error::deserialize(object)?;
    let lost = missing(object, &serde_json::to_value(typed)?);
    ensure(lost.is_empty(), || format!("not in the schema: {}", lost.join(", ")))
}

/// Where the second value lacks what the first has, or has something else.
pub(crate) fn missing(written: &Value, read: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    compare(written, read, "", &mut lost);
    lost
}

fn compare(written: &Value, read: &Value, path: &str, lost: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                compare(value, read.get(key).unwrap_or(&Value::Null), &format!("{path}/{key}"), lost);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                compare(written, read, &format!("{path}/{index}"), lost);
            }
        }
        (Value::Null, _) => lost.push(format!("{path} (empty)")),
        (written, read) if written == read => {}
        _ => lost.push(path.to_owned()),
    }
}

#[tokio::test]
async fn every_object_is_valid_against_the_types_of_kubernetes() -> Result<()> {
    for (variant, rendered) in variants().await? {
        for object in &rendered.0 {
            let name = &object["metadata"]["name"];
            check(object).map_err(|error| format!("{variant}: {} {name}: {error}", object["kind"]))?;
        }
    }
    Ok(())
}

#[test]
fn a_field_that_is_misspelt_and_a_value_of_the_wrong_type_are_found() -> Result<()> {
    let base = Rendered::base()?;
    let mut deployment = base.one("Deployment")?.clone();
    deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = true.into();
    let error = check(&deployment).unwrap_err().to_string();
    assert_eq!(error, "not in the schema: /spec/template/spec/containers/0/redinessProbe");
    let mut deployment = base.one("Deployment")?.clone();
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "30s".into();
    let error = check(&deployment).unwrap_err().to_string();
    assert!(error.starts_with("spec.template.spec.terminationGracePeriodSeconds"), "{error}");
    Ok(())
}
