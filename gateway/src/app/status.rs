//! Status of objects: what is configured about it, in the words of [`xds::status`].

use xds::ObjectRef;
use xds::status::{Address, LeaseOptions, Options};

use crate::config::StatusConfig;

/// Where Linux says what the host is called; in a pod, that is the pod's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What is configured, with the gateway's own namespace.
pub(super) fn options(config: &StatusConfig, namespace: String) -> Options {
    let identity = config.pod_name.clone().unwrap_or_else(host_name);
    Options {
        public_service: config.public_service.clone(),
        internal_service: config.internal_service.clone(),
        cluster_domain: config.cluster_domain.clone(),
        publish_service: config.publish_service.as_ref().map(|(namespace, name)| ObjectRef::new(&**namespace, &**name)),
        publish_addresses: config.publish_addresses.iter().map(|address| Address::new(address)).collect(),
        lease: LeaseOptions {
            name: config.lease_name.clone(),
            duration: config.lease_duration,
            renew_deadline: config.lease_renew_deadline,
            retry_period: config.lease_retry_period,
        },
        rate: f64::from(u32::try_from(config.rate).unwrap_or(u32::MAX)),
        ..Options::new(namespace, identity)
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        tracing::warn!("the host has no name; every gateway needs one of its own: set pod-name");
        return "postern".to_owned();
    }
    name.to_owned()
}
