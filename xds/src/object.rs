//! Objects: what a source yields, and how objects are named.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

mod kingress;
mod status;

pub use kingress::{
    HeaderExact, HttpOption, HttpPath, HttpRule, KIngress, KIngressRule, KIngressSpec, KIngressSplit, KIngressTls,
    ServicePort,
};
pub use status::{KIngressStatus, LoadBalancer, LoadBalancerIngress, StatusCondition};

/// Namespace and name of an object. The texts are shared; a clone allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The kinds that Postern reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass,
    /// `networking.internal.knative.dev/v1alpha1` Ingress.
    KIngress,
    /// `v1` Secret.
    Secret,
    /// `v1` Service.
    Service,
}

impl ObjectKind {
    /// The word used in messages: `Ingress`, or `KIngress` for Knative's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::EndpointSlice => "EndpointSlice",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::KIngress => "KIngress",
            Self::Secret => "Secret",
            Self::Service => "Service",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object's kind and name: what identifies it among everything a source yields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The kind.
    pub kind: ObjectKind,
    /// Namespace and name.
    pub object: ObjectRef,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.object)
    }
}

/// An object as a source read it. Handed to the translator and let go.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `v1` ConfigMap.
    ConfigMap(Box<ConfigMap>),
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice(Box<EndpointSlice>),
    /// `networking.k8s.io/v1` Ingress.
    Ingress(Box<Ingress>),
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass(Box<IngressClass>),
    /// Knative's Ingress.
    KIngress(Box<KIngress>),
    /// A Secret, without its data.
    Secret(SecretMeta),
    /// `v1` Service.
    Service(Box<Service>),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::ConfigMap(_) => ObjectKind::ConfigMap,
            Self::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Self::Ingress(_) => ObjectKind::Ingress,
            Self::IngressClass(_) => ObjectKind::IngressClass,
            Self::KIngress(_) => ObjectKind::KIngress,
            Self::Secret(_) => ObjectKind::Secret,
            Self::Service(_) => ObjectKind::Service,
        }
    }
}

/// What is known of a Secret without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMeta {
    /// Namespace and name.
    pub object: ObjectRef,
    /// `type`, for example `kubernetes.io/tls`; `None` where the source cannot see it.
    pub secret_type: Option<Arc<str>>,
    /// Changes whenever the content may have changed; compared for equality only.
    pub version: Arc<str>,
}

/// A Secret that was read, and why it cannot be served; `None` if it can.
pub type Judged = (ObjectRef, Option<Refusal>);

/// Why a Secret cannot be served as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, without the Secret's name.
    pub why: Arc<str>,
    /// An earlier version is served instead.
    pub has_last_good: bool,
}

/// A change of one object, as seen by a source. Level-triggered: a repeated or stale event does no harm.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectEvent {
    /// The object is now like this.
    Applied(Object),
    /// The object is gone.
    Deleted(ObjectKey),
    /// Everything that exists has been said once.
    Synced,
}
