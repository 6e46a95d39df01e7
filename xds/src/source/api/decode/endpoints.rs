//! EndpointSlices: most of all objects, and most of all changes, so they are read without what nobody looks at
//! (`targetRef`, `hints`, `deprecatedTopology`).

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use serde::Deserialize;

use super::meta::{Head, ObjectMeta};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireEndpointSlice {
    metadata: SliceMeta,
    address_type: String,
    #[serde(default)]
    endpoints: Option<Vec<WireEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<EndpointPort>>,
}

/// Spelt out, because `#[serde(flatten)]` would store `managedFields` on the way.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceMeta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoint {
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    conditions: Option<EndpointConditions>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    zone: Option<String>,
}

impl WireEndpointSlice {
    pub(super) fn split(self) -> (Head, EndpointSlice) {
        let SliceMeta { name, namespace, resource_version, labels } = self.metadata;
        let head = Head { name, namespace, resource_version };
        let metadata = ObjectMeta {
            name: Some(head.name.clone()),
            namespace: Some(head.namespace.clone()),
            resource_version: Some(head.resource_version.clone()),
            labels,
            ..ObjectMeta::default()
        };
        let endpoints = self.endpoints.unwrap_or_default().into_iter().map(Endpoint::from).collect();
        (head, EndpointSlice { address_type: self.address_type, endpoints, metadata, ports: self.ports })
    }
}

impl From<WireEndpoint> for Endpoint {
    fn from(wire: WireEndpoint) -> Self {
        Self {
            addresses: wire.addresses.unwrap_or_default(),
            conditions: wire.conditions,
            hostname: wire.hostname,
            node_name: wire.node_name,
            zone: wire.zone,
            ..Self::default()
        }
    }
}
