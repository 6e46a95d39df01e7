//! The kinds that the cluster serves.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Knative's Ingress.
    KIngress,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass,
    /// Service.
    Service,
    /// Secret.
    Secret,
    /// ConfigMap.
    ConfigMap,
    /// Pod.
    Pod,
    /// Namespace.
    Namespace,
    /// The Event of the core group, kept apart from the one of `events.k8s.io`.
    CoreEvent,
    /// The Event of `events.k8s.io`.
    Event,
    /// EndpointSlice.
    EndpointSlice,
    /// Lease.
    Lease,
}

/// What the API says about a kind.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that don't depend on each other")]
pub struct Facts {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The resource.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether there is a status subresource.
    pub has_status: bool,
    /// Whether `metadata.generation` counts changes of the specification.
    pub has_generation: bool,
    /// Whether an update must carry a `resourceVersion`.
    pub conditional_update: bool,
    /// Whether the kind is defined by a `CustomResourceDefinition`; items of its lists name their type.
    pub custom: bool,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::KIngress,
        Self::Ingress,
        Self::IngressClass,
        Self::Service,
        Self::Secret,
        Self::ConfigMap,
        Self::Pod,
        Self::Namespace,
        Self::CoreEvent,
        Self::Event,
        Self::EndpointSlice,
        Self::Lease,
    ];

    /// What the API says about it.
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::KIngress => &KINGRESS,
            Self::Ingress => &INGRESS,
            Self::IngressClass => &INGRESS_CLASS,
            Self::Service => &SERVICE,
            Self::Secret => &SECRET,
            Self::ConfigMap => &CONFIG_MAP,
            Self::Pod => &POD,
            Self::Namespace => &NAMESPACE,
            Self::CoreEvent => &CORE_EVENT,
            Self::Event => &EVENT,
            Self::EndpointSlice => &ENDPOINT_SLICE,
            Self::Lease => &LEASE,
        }
    }

    /// The kind with this group, version and resource.
    pub fn of_resource(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::find(|facts| facts.group == group && facts.version == version && facts.plural == plural)
    }

    /// The kind that an object's `apiVersion` and `kind` say.
    pub fn of_object(api_version: &str, kind: &str) -> Option<Self> {
        Self::find(|facts| facts.kind == kind && facts.api_version() == api_version)
    }

    fn find(suits: impl Fn(&Facts) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| suits(kind.facts()))
    }

    /// Position in [`Kind::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl Facts {
    /// `v1`, or group and version.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resource as messages name it: `secrets`, `ingresses.networking.k8s.io`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts().qualified())
    }
}

/// From the resource as messages name it: `secrets`, `ingresses.networking.k8s.io`.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let unknown = || de::Error::custom(format!("{text}: no such resource in the simulated cluster"));
        Self::find(|facts| facts.qualified() == text).ok_or_else(unknown)
    }
}

/// A kind of the core group, without status and generation.
const CORE: Facts = Facts {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    namespaced: true,
    has_status: false,
    has_generation: false,
    conditional_update: false,
    custom: false,
};

static KINGRESS: Facts = Facts {
    group: "networking.internal.knative.dev",
    version: "v1alpha1",
    kind: "Ingress",
    plural: "ingresses",
    has_status: true,
    has_generation: true,
    conditional_update: true,
    custom: true,
    ..CORE
};
static INGRESS: Facts = Facts {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    has_status: true,
    has_generation: true,
    ..CORE
};
static INGRESS_CLASS: Facts = Facts {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    namespaced: false,
    has_generation: true,
    ..CORE
};
static SERVICE: Facts = Facts { kind: "Service", plural: "services", has_status: true, ..CORE };
static SECRET: Facts = Facts { kind: "Secret", plural: "secrets", ..CORE };
static CONFIG_MAP: Facts = Facts { kind: "ConfigMap", plural: "configmaps", ..CORE };
static POD: Facts = Facts { kind: "Pod", plural: "pods", has_status: true, has_generation: true, ..CORE };
static NAMESPACE: Facts =
    Facts { kind: "Namespace", plural: "namespaces", namespaced: false, has_status: true, ..CORE };
static CORE_EVENT: Facts = Facts { kind: "Event", plural: "events", ..CORE };
static EVENT: Facts = Facts { group: "events.k8s.io", kind: "Event", plural: "events", ..CORE };
static ENDPOINT_SLICE: Facts =
    Facts { group: "discovery.k8s.io", kind: "EndpointSlice", plural: "endpointslices", has_generation: true, ..CORE };
static LEASE: Facts =
    Facts { group: "coordination.k8s.io", kind: "Lease", plural: "leases", conditional_update: true, ..CORE };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_kind_is_its_position() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), position);
        }
    }

    #[test]
    fn both_ingresses_are_told_apart() {
        assert_eq!(Kind::of_object("networking.k8s.io/v1", "Ingress"), Some(Kind::Ingress));
        assert_eq!(Kind::of_object("networking.internal.knative.dev/v1alpha1", "Ingress"), Some(Kind::KIngress));
    }
}
