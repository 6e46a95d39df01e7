//! Configuration: one typed [`Config`], resolved once from flags, environment and a YAML file.
//!
//! A setting given on the command line beats the environment (`POSTERN_CERT_CACHE` for `cert-cache`), which beats the
//! file, which beats the cluster's `ConfigMap`s, which beat the default: who started this process had a reason. Every
//! fault is reported, not the first. A [`Config`] that exists is valid.

mod layers;
mod maps;
mod parse;
mod resolve;
mod setting;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use certstore::SecretRef;

use crate::listener::ListenerName;
use crate::overload::{MemoryLimit, Thresholds};
use crate::proxy::settings::UnderscoreHeaders;
use crate::proxy::trust::Hops;
use crate::tls::TlsVersion;
use crate::upstream::Reach;

pub use layers::{ConfigFault, Effective, Layers, Origin};
pub(crate) use maps::MapSchema;
pub use setting::{GATEWAY_SETTINGS, Setting};
pub(crate) use value::{parse_cache_size, parse_time};

/// The configuration of `postern gateway`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where objects come from.
    pub source: SourceConfig,
    /// The namespace of `config-postern`, unless it is found in the surroundings.
    pub own_namespace: Option<String>,
    /// The namespace of Knative's `ConfigMap`s, unless they are not to be read.
    pub knative_namespace: Option<String>,
    /// The address of each listener that is on.
    pub listen: BTreeMap<ListenerName, SocketAddr>,
    /// Where encrypted copies of certificates are kept, if they are.
    pub sealed_dir: Option<PathBuf>,
    /// Bytes that these copies may take.
    pub sealed_bytes: bytesize::ByteSize,
    /// How much memory the process may use.
    pub memory_limit: MemoryLimit,
    /// At which share of it each stage of overload begins.
    pub overload: Thresholds,
    /// Bytes that cached certificates may hold; as the plan of memory has it if there is none.
    pub cert_cache: Option<bytesize::ByteSize>,
    /// Certificates that are loaded at the same time; more loads wait.
    pub cert_loads: usize,
    /// Certificates that may be loaded in a second.
    pub cert_miss_rate: usize,
    /// Presented to clients that ask for an unknown server name or for none; none by default.
    pub default_certificate: Option<SecretRef>,
    /// The lowest TLS version that is accepted.
    pub min_tls_version: TlsVersion,
    /// How long hello, certificate and handshake may take together.
    pub handshake_timeout: Duration,
    /// How long a request's header may take from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may idle between requests.
    pub keepalive_timeout: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_stall_timeout: Duration,
    /// Bytes of bodies that may wait for clients and endpoints; as much as there is memory for if there is none.
    pub max_buffered: Option<bytesize::ByteSize>,
    /// Downstream connections at the same time, in all; as many as there is memory for if there is none.
    pub max_connections: Option<usize>,
    /// Downstream connections at the same time from one address; a quarter of those in all if there is none.
    pub max_connections_per_client: Option<usize>,
    /// Whether the external listeners expect a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Peers whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Proxies in front, by their number, if they are counted.
    pub hops: Option<Hops>,
    /// The treatment of header fields with `_` in their name.
    pub underscore_headers: UnderscoreHeaders,
    /// Which addresses endpoints may have.
    pub reach: Reach,
    /// How long a request waits for an endpoint that can be reached before it is answered with 503.
    pub endpoint_wait: Duration,
    /// How long a stream may be without a byte in either direction; zero is no limit.
    pub stream_idle_timeout: Duration,
    /// The class of the Knative Ingresses that are ours.
    pub kingress_class: String,
    /// The controller name of the `IngressClass` objects that are ours.
    pub ingress_controller: String,
    /// The class name of the Ingresses that are ours.
    pub ingress_class: String,
    /// Knative Ingresses that ask for it redirect to HTTPS.
    pub https_redirect: bool,
    /// Keys of Kourier's and Knative's that the operator accepts not to be implemented.
    pub accept_unsupported: Vec<String>,
    /// Namespaces whose Secrets a Knative Ingress of any namespace may use.
    pub shared_secret_namespaces: Vec<String>,
    /// How long connections are still accepted after SIGTERM, while load balancers notice.
    pub drain_delay: Duration,
    /// How long a drain may take in all.
    pub drain_timeout: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as tracing's filter directives.
    pub log_level: String,
    /// Whether a line is written for each request.
    pub access_log: bool,
    /// Threads that serve traffic.
    pub threads: usize,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A directory of manifests.
    Dir(PathBuf),
    /// The Kubernetes API.
    Kube(KubeConfig),
}

/// How the Kubernetes API is reached, and what of it is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeConfig {
    /// A kubeconfig. Without one: the pod's service account or, outside of a cluster, `$KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; its current one by default.
    pub context: Option<String>,
    /// The namespaces that are followed; all if there are none.
    pub namespaces: Vec<String>,
    /// Only Secrets with these labels are followed, as a selector.
    pub secret_selector: Option<String>,
    /// Secrets fetched per second, on average; after a pause twice as many at once.
    pub qps: usize,
    /// How status is written; `None` if it is not.
    pub status: Option<Box<StatusConfig>>,
}

/// How status is written to objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusConfig {
    /// The name of this pod; the host's by default.
    pub pod_name: Option<String>,
    /// The Service for traffic from outside.
    pub public_service: String,
    /// The Service for traffic from inside.
    pub internal_service: String,
    /// The domain of the cluster's DNS.
    pub cluster_domain: String,
    /// Namespace and name of the Service whose addresses Ingresses show; the public one by default.
    pub publish_service: Option<(String, String)>,
    /// Addresses that Ingresses show instead.
    pub publish_addresses: Vec<String>,
    /// The Lease whose holder writes.
    pub lease_name: String,
    /// How long others wait for a holder that does not renew.
    pub lease_duration: Duration,
    /// How long without renewal the holder still writes.
    pub lease_renew_deadline: Duration,
    /// How often the Lease is renewed.
    pub lease_retry_period: Duration,
    /// Patches in a second, on average.
    pub rate: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
