//! Resources: what a gateway runs on, and the [`Update`] that carries their changes.
//!
//! Resources refer to each other by name only (a route names its clusters), so each can change alone. Texts of
//! names and lists of addresses are shared with the translator's own records: who keeps them by their `Arc` pays for
//! them once. So do routes, which are packed until somebody reads them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::object::ObjectRef;

mod packed_routes;

pub use packed_routes::PackedRouteSet;

/// A set of changes that leads from one consistent configuration to the next.
///
/// Every list holds only resources that differ from what was sent before; `None` removes the resource of that name.
/// Whoever applies it adds clusters and endpoints first, switches virtual hosts and TLS bindings, and then drops the
/// clusters that were removed, so that no route is without its cluster in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Rises by one with each Update of a translator; the first is 1.
    pub version: u64,
    /// Clusters by name.
    pub clusters: Changes<ClusterName, Cluster>,
    /// Endpoints of clusters whose [`Discovery`] is `Endpoints`, by the cluster's name.
    pub endpoints: Changes<ClusterName, EndpointSet>,
    /// Virtual hosts by host pattern.
    pub virtual_hosts: Changes<HostPattern, VirtualHost>,
    /// TLS bindings by SNI pattern.
    pub tls_bindings: Changes<HostPattern, TlsBinding>,
    /// Secrets that exist, by reference, with the version last seen. Their data is not here.
    pub secrets: Changes<ObjectRef, SecretVersion>,
    /// True from the Update with which the first complete snapshot of the source has been said.
    pub complete: bool,
}

/// Changed resources: `Some` adds or replaces, `None` removes.
pub type Changes<K, V> = Vec<(K, Option<V>)>;

impl Update {
    /// True when no resource differs (the Update may still say that the first snapshot is complete).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many resources differ.
    pub fn len(&self) -> usize {
        self.clusters.len()
            + self.endpoints.len()
            + self.virtual_hosts.len()
            + self.tls_bindings.len()
            + self.secrets.len()
    }
}

/// A host that a virtual host answers for, or a server name that a TLS binding is for.
///
/// Lower case, without port and trailing dot. One of: an exact name (`shop.test`), a wildcard for the first label
/// (`*.shop.test`), or `*` for every host (virtual hosts only).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern(Arc<str>);

impl HostPattern {
    /// The pattern for every host.
    pub const ANY: &'static str = "*";

    /// Takes a name that is lower case already; `translate` checks and folds what users write.
    pub fn new(pattern: Arc<str>) -> Self {
        Self(pattern)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for tables that key by it without a second allocation.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// True for `*.suffix` and `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }
}

/// The name of a cluster: `namespace/service:port`, the port being a number or a name as the route wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// Takes a name in the form `namespace/service:port`.
    pub fn new(name: Arc<str>) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for tables that key by it without a second allocation.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

/// Namespace, Service and port of a cluster's name.
pub(crate) fn cluster_parts(name: &str) -> (&str, &str, &str) {
    let (service, port) = name.rsplit_once(':').unwrap_or((name, ""));
    let (namespace, service) = service.split_once('/').unwrap_or(("", service));
    (namespace, service, port)
}

/// From where a host may be reached. Internal listeners serve both; external ones only [`Visibility::External`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// From outside the cluster and from inside (KIngress `ExternalIP`).
    #[default]
    External,
    /// From inside the cluster only (KIngress `ClusterLocal`).
    ClusterLocal,
}

/// The routes of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// From where the host may be reached.
    pub visibility: Visibility,
    /// For a wildcard host: whether `*` stands for one label (Ingress v1) or for one or more (KIngress, as Envoy does).
    pub wildcard_depth: WildcardDepth,
    /// Plain-text requests are answered with 301 to https (KIngress `httpOption: Redirected`, external hosts only).
    pub redirect_to_https: bool,
    /// The routes; hosts with equal routes within one object share them.
    pub routes: PackedRouteSet,
}

/// How many labels the `*` of a wildcard host stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WildcardDepth {
    /// Exactly one.
    #[default]
    One,
    /// One or more.
    Any,
}

/// Routes in the order in which they are tried, with what holds for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteSet {
    /// The first route that matches is taken.
    pub routes: Vec<Route>,
    /// SHA-256 of the KIngress as Knative's prober computes it: the answer to `K-Network-Hash: override`.
    pub probe_hash: Option<[u8; 32]>,
}

/// One route: when it applies, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// On which paths.
    pub path: PathMatch,
    /// Headers that must be present as said; all of them.
    pub headers: Vec<HeaderMatch>,
    /// Where the request goes.
    pub action: Forward,
}

/// A condition on the path (without the query). Case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The path is this text.
    Exact(Arc<str>),
    /// The path starts with this text, at any character (KIngress).
    StringPrefix(Arc<str>),
    /// The path's elements start with these elements: `/foo` covers `/foo` and `/foo/bar`, not `/foobar` (Ingress v1
    /// `Prefix`). A trailing slash is not kept.
    ElementPrefix(Arc<str>),
}

impl PathMatch {
    /// True when a request with this path (without its query) is meant.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == &**text,
            Self::StringPrefix(prefix) => path.starts_with(&**prefix),
            Self::ElementPrefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(text) | Self::StringPrefix(text) | Self::ElementPrefix(text) => text,
        }
    }
}

/// A condition on a request header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Header name, lower case.
    pub name: Arc<str>,
    /// The exact value, or `None` for presence.
    pub exact: Option<Arc<str>>,
}

/// Sends the request to one of several clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Candidates with their weights; at least one weight is above zero.
    pub splits: Vec<Split>,
    /// Request headers that are set (replaced if present), after those of the split.
    pub set_headers: Vec<SetHeader>,
    /// The authority that the upstream sees instead of the client's.
    pub rewrite_host: Option<Arc<str>>,
    /// Speak HTTP/1.1 to the upstream whatever the cluster's protocol is (the `disable-http2` annotation).
    pub force_http1: bool,
}

/// One candidate of a [`Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// Where to.
    pub cluster: ClusterName,
    /// Share of the sum of weights; 0 gets no request.
    pub weight: u32,
    /// Request headers that are set (replaced if present) when this candidate is picked.
    pub set_headers: Vec<SetHeader>,
}

/// A request header to set. Name and value are valid for HTTP (RFC 9110 §5.1, §5.5): translation has checked them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetHeader {
    /// Header name, lower case.
    pub name: Arc<str>,
    /// Header value.
    pub value: Arc<str>,
}

/// A backend: how to speak to it and how its addresses are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// What is spoken to its endpoints.
    pub protocol: UpstreamProtocol,
    /// How its addresses are found.
    pub discovery: Discovery,
}

/// The protocol spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 over TCP.
    #[default]
    Http1,
    /// HTTP/2 over TCP with prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// How the addresses of a cluster are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// By [`EndpointSet`]s of the same name.
    Endpoints,
    /// By resolving a DNS name (Service `ExternalName`).
    Dns {
        /// The name to resolve.
        host: Arc<str>,
        /// The port to connect to.
        port: u16,
    },
}

/// The addresses of a cluster that are ready or, while none is, that end and still serve; sorted and without repetition.
/// May be empty.
///
/// Lists are shared: thousands of services that are scaled to zero hold the activator's addresses once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointSet {
    /// Address and port of each endpoint.
    pub addresses: Arc<[SocketAddr]>,
}

/// Which Secret holds the certificate for a server name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsBinding {
    /// The Secret with `tls.crt` and `tls.key`.
    pub secret: ObjectRef,
    /// On which listeners the name is offered.
    pub visibility: Visibility,
}

/// Changes whenever the Secret's content may have changed. Opaque: only equality means something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretVersion(pub Arc<str>);
