//! Services with a number of pods: the pods are made and deleted, and the EndpointSlice leads to them or to the activators.
//!
//! Level-triggered: everything is computed from the Service and its pods as they are.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Shared;
use super::super::kind::Kind;
use super::super::object::{self, Key};
use super::super::store::range;
use super::super::write::Preconditions;
use super::pods;
use crate::{address, manifests};

/// The annotation of a Service that says how many pods it is to have.
pub(in super::super) const REPLICAS: &str = "simulated/replicas";

/// The annotation of a Service that says where its activators are, separated by commas.
pub(in super::super) const ACTIVATORS: &str = "simulated/activators";

/// What stands between the name of a Service and the number of its pod.
const POD: &str = "-pod-";

/// A Service cannot have more.
const MOST_PODS: u32 = 1_000;

/// The Service to which a pod belongs, if its name says so.
pub(super) fn service_of(pod: &str) -> Option<Key> {
    pod.rsplit_once(POD).map(|(service, _)| service.into())
}

/// Brings the pods and the EndpointSlice of a Service to what they should be.
pub(super) fn reconcile(shared: &Shared, service_key: &Key) {
    let (namespace, service_name) = object::split_key(service_key);
    let pods = pods_of(shared, service_key);
    let Some(service) = shared.store.get(Kind::Service, service_key).map(|service| service.value()) else {
        scale(shared, service_key, &pods, 0);
        if !pods.is_empty() {
            shared.delete(Kind::EndpointSlice, service_key, &Preconditions::default());
        }
        return;
    };
    let annotation = |name: &str| service["metadata"]["annotations"][name].as_str();
    let Some(replicas) = annotation(REPLICAS).and_then(|text| text.parse::<u32>().ok()) else { return };
    scale(shared, service_key, &pods, replicas.min(MOST_PODS));
    let activators = annotation(ACTIVATORS).unwrap_or_default().split(',');
    let activators: Vec<SocketAddr> = activators.filter_map(|address| address.trim().parse().ok()).collect();
    let port_name = service["spec"]["ports"][0]["name"].as_str().unwrap_or("http");
    let slice = endpoint_slice(namespace, service_name, port_name, &pods, &activators);
    // A slice is always acceptable: it has a name and says no version.
    let _stored = shared.put(Kind::EndpointSlice, namespace, service_name, slice);
}

/// The pods of a Service with their keys.
fn pods_of(shared: &Shared, service_key: &str) -> Vec<(Key, Value)> {
    let prefix = format!("{service_key}{POD}");
    let snapshot = shared.store.snapshot(Kind::Pod);
    let pods = range(&snapshot.objects, None, Some(&prefix)).take_while(|(key, _)| key.starts_with(&prefix));
    pods.map(|(key, pod)| (Arc::clone(key), pod.value())).collect()
}

/// Makes pods that are missing and deletes those that are too many, not yet Ready ones first.
fn scale(shared: &Shared, service_key: &str, pods: &[(Key, Value)], replicas: u32) {
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let mut alive: Vec<_> = pods.iter().filter(|(_, pod)| !is_terminating(pod)).collect();
    let missing = wanted.saturating_sub(alive.len());
    let (namespace, service_name) = object::split_key(service_key);
    let free = (0_u32..)
        .map(|number| format!("{service_name}{POD}{number}"))
        .filter(|name| pods.iter().all(|(key, _)| object::split_key(key).1 != name));
    for name in free.take(missing) {
        let _made = shared.put(Kind::Pod, namespace, &name, new_pod(service_name, address::unused()));
    }
    alive.sort_by_key(|(_, pod)| !is_ready(pod));
    for (key, _) in alive.into_iter().skip(wanted) {
        shared.delete(Kind::Pod, key, &Preconditions::default());
    }
}

fn new_pod(service_name: &str, address: SocketAddr) -> Value {
    let container = json!({
        "name": "user-container", "image": "simulated", "ports": [{"name": "http", "containerPort": address.port()}],
    });
    json!({
        "metadata": {"labels": {"simulated/service": service_name}},
        "spec": {"nodeName": "simulated", "containers": [container], "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Pending", "podIP": address.ip().to_string()},
    })
}

/// Ready pods with those that terminate beside them; the activators while no pod is Ready.
fn endpoint_slice(
    namespace: &str,
    service: &str,
    port_name: &str,
    pods: &[(Key, Value)],
    activators: &[SocketAddr],
) -> Value {
    let usable = |pod: &Value| is_ready(pod) && !is_terminating(pod);
    let through_activators = !activators.is_empty() && !pods.iter().any(|(_, pod)| usable(pod));
    let direct: Vec<(SocketAddr, bool)> = if through_activators {
        activators.iter().map(|&address| (address, true)).collect()
    } else {
        pods.iter().filter_map(|(_, pod)| Some((pods::address(pod)?, usable(pod)))).collect()
    };
    let mut slice = manifests::endpoint_slice(namespace, service, port_name, &direct);
    slice["metadata"]["name"] = service.into();
    if !through_activators {
        let with_address = pods.iter().filter(|(_, pod)| pods::address(pod).is_some());
        for (index, (key, pod)) in with_address.enumerate() {
            let endpoint = &mut slice["endpoints"][index];
            endpoint["conditions"] =
                json!({"ready": usable(pod), "serving": is_ready(pod), "terminating": is_terminating(pod)});
            let name = object::split_key(key).1;
            endpoint["targetRef"] = json!({"kind": "Pod", "namespace": namespace, "name": name});
        }
    }
    slice
}

fn is_terminating(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
