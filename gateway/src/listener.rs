//! Listeners: an address we accept on, with its policy.

mod accept;
mod admission;
mod bind;
mod figures;
mod proxy_protocol;

use std::fmt;
use std::str::FromStr;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use xds::resource::Visibility;

pub use accept::{Policy, serve};
pub(crate) use admission::source_of;
pub use admission::{Admission, Limits, Permit, Refusal};
pub use bind::{BindError, BoundListener, bind};
pub use proxy_protocol::{ProxyFault, ProxyHeader, parse as parse_proxy_header};

/// The listeners of a gateway, by the name used in flags, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerName {
    /// HTTP for clients outside the cluster; 8080.
    ExternalHttp,
    /// HTTPS for clients outside the cluster; 8443.
    ExternalHttps,
    /// HTTP for clients inside the cluster, and `/ready` for Host `internalkourier`; 8081.
    InternalHttp,
    /// HTTPS for clients inside the cluster; 8444.
    InternalHttps,
    /// HTTP for Knative's prober, never PROXY protocol; 8090.
    ProbeHttp,
    /// HTTPS for Knative's prober, never PROXY protocol; 9443.
    ProbeHttps,
    /// Metrics and health for the pod network, read-only; 9000.
    Metrics,
    /// Administration, loopback only; 9901.
    Admin,
}

impl ListenerName {
    /// All listeners, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::ExternalHttp,
        Self::ExternalHttps,
        Self::InternalHttp,
        Self::InternalHttps,
        Self::ProbeHttp,
        Self::ProbeHttps,
        Self::Metrics,
        Self::Admin,
    ];

    /// The name in flags, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExternalHttp => "external-http",
            Self::ExternalHttps => "external-https",
            Self::InternalHttp => "internal-http",
            Self::InternalHttps => "internal-https",
            Self::ProbeHttp => "probe-http",
            Self::ProbeHttps => "probe-https",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// The port that Kourier uses for the same purpose.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::ExternalHttp => 8080,
            Self::ExternalHttps => 8443,
            Self::InternalHttp => 8081,
            Self::InternalHttps => 8444,
            Self::ProbeHttp => 8090,
            Self::ProbeHttps => 9443,
            Self::Metrics => 9000,
            Self::Admin => 9901,
        }
    }

    /// True for the listeners that proxy requests; the others answer themselves.
    pub const fn is_traffic(self) -> bool {
        !matches!(self, Self::Metrics | Self::Admin)
    }

    /// True where TLS is terminated.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::ExternalHttps | Self::InternalHttps | Self::ProbeHttps)
    }

    /// False for the probe listeners: Knative's prober sends no PROXY header, whatever stands in front of the others.
    pub const fn may_be_proxied(self) -> bool {
        !self.is_probe()
    }

    /// True for the listeners that Knative's prober asks.
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::ProbeHttp | Self::ProbeHttps)
    }

    /// Whose hosts are served here: internal listeners serve those of [`Visibility::External`] as well.
    pub const fn visibility(self) -> Visibility {
        match self {
            Self::InternalHttp | Self::InternalHttps => Visibility::ClusterLocal,
            _ => Visibility::External,
        }
    }

    /// Whether a host (or a server name) of this visibility is served on this listener.
    pub fn serves(self, visibility: Visibility) -> bool {
        self.visibility() == Visibility::ClusterLocal || visibility == Visibility::External
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ListenerName {
    type Err = UnknownListener;

    fn from_str(name: &str) -> Result<Self, UnknownListener> {
        Self::ALL.into_iter().find(|listener| listener.as_str() == name).ok_or_else(|| UnknownListener(name.to_owned()))
    }
}

/// There is no listener of this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no listener is named {0:?}; the names are external-http, external-https, internal-http, internal-https, \
     probe-http, probe-https, metrics and admin"
)]
pub struct UnknownListener(pub String);

/// Describes the metrics of this module to the recorder.
pub fn describe_metrics() {
    describe_counter!(
        "postern_listener_accepted_total",
        Unit::Count,
        "Connections accepted, by listener, those refused afterwards included."
    );
    describe_gauge!("postern_listener_connections", Unit::Count, "Connections open now, by listener.");
    describe_gauge!("postern_listener_streams", Unit::Count, "Streams of HTTP/2 served now, by listener.");
    describe_histogram!(
        "postern_listener_most_streams",
        Unit::Count,
        "Most streams at a time of each HTTP/2 connection that has ended, by listener."
    );
    describe_counter!(
        "postern_listener_refused_total",
        Unit::Count,
        "Connections closed right after accepting, by listener and reason: a limit, lack of memory, or a bad PROXY header."
    );
    describe_counter!(
        "postern_listener_accept_errors_total",
        Unit::Count,
        "Times that accepting failed, by listener and reason; file_descriptors means that RLIMIT_NOFILE is too low."
    );
}
