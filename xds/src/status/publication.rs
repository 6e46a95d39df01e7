//! Addresses that Ingresses are said to be reached at.

use std::time::Duration;

use k8s_openapi::api::networking::v1::IngressLoadBalancerIngress;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::desk::Desk;
use super::lease::Leadership;
use super::wire::Api;
use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::source::api::{Verb, jittered, object_path};

/// How often it is asked where the gateway's Service is reached.
const INTERVAL: Duration = Duration::from_secs(15);

/// An address of the gateway from outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// An IP address.
    Ip(String),
    /// A name.
    Hostname(String),
}

impl Address {
    /// An IP address if it is one, else a name.
    pub fn new(text: &str) -> Self {
        match text.parse::<std::net::IpAddr>() {
            Ok(_) => Self::Ip(text.to_owned()),
            Err(_) => Self::Hostname(text.to_owned()),
        }
    }
}

impl From<&IngressLoadBalancerIngress> for Address {
    fn from(ingress: &IngressLoadBalancerIngress) -> Self {
        match &ingress.ip {
            Some(ip) if !ip.is_empty() => Self::Ip(ip.clone()),
            _ => Self::Hostname(ingress.hostname.clone().unwrap_or_default()),
        }
    }
}

/// A Service, as far as it says where it is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    spec: ServiceSpec,
    status: ServiceStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "type")]
    service_type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    external_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceStatus {
    load_balancer: Balancer,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Balancer {
    ingress: Vec<IngressLoadBalancerIngress>,
}

impl Service {
    /// Where it is reached from outside of the cluster or, if it isn't, from inside. None while its load balancer is
    /// being made.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let spec = &self.spec;
        let external = spec.external_ips.iter().map(|ip| Address::new(ip));
        let mut addresses: Vec<_> =
            self.status.load_balancer.ingress.iter().map(Address::from).chain(external).collect();
        if addresses.is_empty() {
            match spec.service_type.as_str() {
                "LoadBalancer" => {}
                "ExternalName" => addresses.push(Address::new(&spec.external_name)),
                _ if matches!(spec.cluster_ip.as_str(), "" | "None") => {}
                _ => addresses.push(Address::new(&spec.cluster_ip)),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// Says where Ingresses are reached, for as long as it runs.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) api: Api,
    pub(super) desk: Desk,
    /// Said as they are, if there are any.
    pub(super) fixed: Vec<Address>,
    /// Otherwise those of this Service.
    pub(super) service: ObjectRef,
    pub(super) leadership: Leadership,
}

impl Publisher {
    /// Runs until dropped; asks while this gateway writes status.
    pub(super) async fn run(mut self) {
        if !self.fixed.is_empty() {
            self.desk.publish(self.fixed.as_slice().into()).await;
            return;
        }
        let mut said = None;
        loop {
            self.leadership.gained().await;
            said = self.follow(said).await;
            sleep(jittered(INTERVAL)).await;
        }
    }

    /// What cannot be read stays as it was said last.
    async fn follow(&self, said: Option<Vec<Address>>) -> Option<Vec<Address>> {
        let key = ObjectKey { kind: ObjectKind::Service, object: self.service.clone() };
        let now = match self.api.get::<Service>(Verb::Get, &object_path(&key)).await {
            Ok(service) => service.addresses(),
            Err(error) => {
                tracing::debug!(service = %self.service, %error, "the addresses of Ingresses could not be read");
                return said;
            }
        };
        if said.as_ref() != Some(&now) {
            tracing::info!(service = %self.service, addresses = ?now, "Ingresses are reached at these addresses");
            self.desk.publish(now.as_slice().into()).await;
        }
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn addresses(service: Value) -> Vec<Address> {
        serde_json::from_value::<Service>(service).unwrap().addresses()
    }

    #[test]
    fn a_service_is_reached_at_its_load_balancer_and_external_addresses() {
        let service = json!({
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.9"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}},
        });
        let expected = ["192.0.2.1", "192.0.2.9", "lb.example.com"].map(Address::new);
        assert_eq!(addresses(service), expected);
    }

    #[test]
    fn a_service_inside_the_cluster_is_reached_there_and_one_without_balancer_nowhere_yet() {
        assert_eq!(
            addresses(json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}})),
            [Address::new("10.0.0.1")]
        );
        assert_eq!(addresses(json!({"spec": {"type": "ClusterIP", "clusterIP": "None"}})), []);
        assert_eq!(addresses(json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}})), []);
    }
}
