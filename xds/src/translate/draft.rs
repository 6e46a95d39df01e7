//! What one object would contribute, and what is needed to work it out.

use std::fmt;

use hashbrown::HashMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Options;
use super::host;
use super::objects::MOST_HOSTS;
use super::problem::Problems;
use crate::object::ObjectRef;
use crate::resource::PackedRouteSet;
use crate::resource::{ClusterName, HostPattern, Visibility};

/// What an Ingress or KIngress contributes, if nothing stands in its way.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) created: i64,
    /// The routes that hosts refer to by their place.
    pub(super) routes: Vec<PackedRouteSet>,
    pub(super) hosts: Vec<DraftHost>,
    pub(super) tls: Vec<DraftTls>,
}

impl Draft {
    /// Contributes nothing.
    pub(super) fn nothing() -> Self {
        Self { created: i64::MAX, routes: Vec::new(), hosts: Vec::new(), tls: Vec::new() }
    }
}

/// A host that an object claims, and how it would serve it.
#[derive(Debug)]
pub(super) struct DraftHost {
    pub(super) host: String,
    /// Place of its routes among those of the object.
    pub(super) routes: usize,
    pub(super) visibility: Visibility,
    pub(super) redirect_to_https: bool,
}

/// A server name that an object binds to a Secret.
#[derive(Debug)]
pub(super) struct DraftTls {
    pub(super) sni: String,
    pub(super) secret: ObjectRef,
    pub(super) visibility: Visibility,
}

/// When the object was made, in seconds. One that does not say counts as younger than all that do.
pub(super) fn created(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second())
}

/// What drafting one object needs.
pub(super) struct Drafting<'a> {
    pub(super) options: &'a Options,
    pub(super) problems: &'a mut Problems,
    /// What this object has bound.
    pub(super) bound: HashMap<String, ObjectRef>,
}

impl Drafting<'_> {
    /// Hosts in their folded form; those that are none are problems.
    pub(super) fn hosts(&mut self, at: &str, written: &[String]) -> Vec<String> {
        let limit = self.options.limits.hosts_per_object;
        if written.len() > limit {
            let message = format_args!("{} hosts are more than the {limit} that one object may have", written.len());
            self.problems.error(format_args!("{at}.hosts"), message);
            return Vec::new();
        }
        let mut hosts = Vec::with_capacity(written.len());
        for (index, host) in written.iter().enumerate() {
            match host::fold(host) {
                Ok(host) => hosts.push(host),
                Err(error) => self.problems.error(format_args!("{at}.hosts[{index}]"), error),
            }
        }
        hosts
    }

    /// Binds a folded host to a Secret, unless this object has bound it before.
    pub(super) fn bind(
        &mut self,
        at: &str,
        bindings: &mut Vec<DraftTls>,
        host: &str,
        secret: &ObjectRef,
        visibility: Visibility,
    ) {
        if host == HostPattern::ANY {
            let message = "a certificate needs server names; `*` for all of them is the default certificate's setting";
            self.problems.error(format_args!("{at}.hosts"), message);
            return;
        }
        match self.bound.get(host) {
            None => {
                self.bound.insert(host.to_owned(), secret.clone());
                bindings.push(DraftTls { sni: host.to_owned(), secret: secret.clone(), visibility });
            }
            Some(first) if first == secret => {}
            Some(first) => {
                let message =
                    format_args!("host {host:?} is bound to Secret {first} already, which stays; name it once");
                self.problems.warn(format_args!("{at}.hosts"), message);
            }
        }
    }

    /// Holds the object against the bounds on hosts and routes.
    pub(super) fn check_sizes(&mut self, hosts: usize, routes: usize) {
        let limits = self.options.limits;
        for (what, has, may) in [
            ("hosts in the object", hosts, limits.hosts_per_object.min(MOST_HOSTS)),
            ("paths of one host", routes, limits.routes_per_host),
        ] {
            if has > may {
                self.problems
                    .error("spec.rules", format_args!("{has} {what} are more than the {may} that there may be"));
            }
        }
    }
}

/// A port of a Service, as a route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortRef<'a> {
    Number(u16),
    Name(&'a str),
}

/// The name of the cluster behind a Service's port.
pub(super) fn cluster(namespace: &str, service: &str, port: PortRef<'_>) -> Result<ClusterName, PortError> {
    if !host::is_object_name(service) {
        return Err(PortError::Service { service: service.to_owned() });
    }
    Ok(ClusterName::new(format!("{namespace}/{service}:{port}").into()))
}

/// Why a Service or its port cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PortError {
    #[error("port {port} is out of range; ports are 1 to 65535")]
    Range { port: i64 },
    #[error("{name:?} is not the name of a port: expected lower-case letters, digits and `-`")]
    Name { name: String },
    #[error("{service:?} is not the name of a Service")]
    Service { service: String },
}

impl<'a> PortRef<'a> {
    pub(super) fn from_number(number: i32) -> Result<Self, PortError> {
        Ok(Self::Number(port_number(number)?))
    }

    /// A name, or a number in digits.
    pub(super) fn from_text(text: &'a str) -> Result<Self, PortError> {
        if let Ok(number) = text.parse() {
            return Self::from_number(number);
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 63 || !text.bytes().all(allowed) {
            return Err(PortError::Name { name: text.chars().take(64).collect() });
        }
        Ok(Self::Name(text))
    }
}

impl fmt::Display for PortRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A port number that TCP knows.
pub(super) fn port_number(number: i32) -> Result<u16, PortError> {
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or(PortError::Range { port: number.into() })
}
