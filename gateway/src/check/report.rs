//! What `postern check` prints.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use xds::resource::{Discovery, PathMatch, Route, Split, UpstreamProtocol, VirtualHost, Visibility};
use xds::settings::{Reader, Values};
use xds::{Fault, Faults, ObjectRef, Update};

use super::annotations::Annotations;
use super::certificates::Checked;
use crate::config::{Effective, GATEWAY_SETTINGS, Layers, Origin};

/// Everything that a directory of manifests says, in the order in which it is printed.
pub(super) struct Report {
    hosts: BTreeMap<String, VirtualHost>,
    backends: BTreeMap<String, String>,
    certificates: BTreeMap<ObjectRef, Checked>,
    annotations: Annotations,
    settings: Settings,
    /// What is wrong, Secrets included.
    pub(super) faults: Vec<String>,
}

impl Report {
    /// Puts together what `update` and the certificates say.
    pub(super) fn new(
        update: Update,
        certificates: BTreeMap<ObjectRef, Checked>,
        annotations: Annotations,
        settings: Settings,
        faults: &Faults,
    ) -> Self {
        let mut all: Vec<String> = faults.all().iter().map(Fault::to_string).collect();
        for (secret, checked) in &certificates {
            all.extend(checked.faults(secret));
        }
        Self { backends: backends(&update), hosts: hosts(update), certificates, annotations, settings, faults: all }
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "hosts": self.hosts.iter().map(|(name, host)| self.host_json(name, host)).collect::<Vec<_>>(),
            "certificates": self.certificates.iter().map(|(secret, checked)| checked.to_json(secret)).collect::<Vec<_>>(),
            "ingressNginx": self.annotations.to_json(),
            "settings": self.settings.to_json(),
            "keysWithoutEffect": self.settings.idle_json(),
            "faults": self.faults,
        })
    }

    fn host_json(&self, name: &str, host: &VirtualHost) -> Value {
        let route = |route: &Route| {
            json!({
                "path": path(&route.path),
                "headers": headers(route),
                "splits": route.action.splits.iter().map(|split| json!({
                    "cluster": split.cluster.as_str(),
                    "weight": split.weight,
                    "backend": self.backend(split),
                })).collect::<Vec<_>>(),
                "rewriteHost": route.action.rewrite_host.as_deref(),
            })
        };
        json!({
            "host": name,
            "visibility": visibility(host.visibility),
            "redirectToHttps": host.redirect_to_https,
            "routes": host.routes.unpack().routes.iter().map(route).collect::<Vec<_>>(),
        })
    }

    fn backend(&self, split: &Split) -> &str {
        self.backends.get(split.cluster.as_str()).map_or("missing: answered with 503", String::as_str)
    }

    fn print_hosts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Hosts ({})", self.hosts.len())?;
        for (name, host) in &self.hosts {
            let redirect = if host.redirect_to_https { ", HTTP is redirected to HTTPS" } else { "" };
            writeln!(f, "  {name} ({}{redirect})", visibility(host.visibility))?;
            for route in &host.routes.unpack().routes {
                write!(f, "    {}", path(&route.path))?;
                headers(route).iter().try_for_each(|header| write!(f, " if {header}"))?;
                writeln!(f)?;
                for split in &route.action.splits {
                    writeln!(f, "      {:>3} {} -> {}", split.weight, split.cluster.as_str(), self.backend(split))?;
                }
            }
        }
        Ok(())
    }
}

/// What the `ConfigMap`s among the manifests set.
pub(super) struct Settings {
    effective: Vec<Effective>,
    /// Maps with the keys of theirs that are known and do nothing yet.
    idle: Vec<(ObjectRef, String)>,
}

impl Settings {
    /// What the values of the maps come to, on these layers.
    pub(super) fn new(started: Layers, values: &Values, reader: &Reader) -> Self {
        let layers = started.with_maps(GATEWAY_SETTINGS, values);
        let effective = GATEWAY_SETTINGS.iter().map(|setting| layers.effective(setting));
        let idle = reader.without_effect().map(|(map, keys)| (map.clone(), keys.to_owned()));
        Self {
            effective: effective.filter(|effective| effective.origin == Origin::ConfigMap).collect(),
            idle: idle.collect(),
        }
    }

    fn to_json(&self) -> Value {
        let setting = |Effective { name, values, place, .. }: &Effective| json!({"name": name, "values": values, "configMap": place});
        self.effective.iter().map(setting).collect()
    }

    fn idle_json(&self) -> Value {
        let idle = |(map, keys): &(ObjectRef, String)| json!({"configMap": map.to_string(), "keys": keys.split(", ").collect::<Vec<_>>()});
        self.idle.iter().map(idle).collect()
    }
}

/// Nothing, where no map says anything.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.effective.is_empty() || !self.idle.is_empty() {
            writeln!(f, "\nSettings ({})", self.effective.len())?;
        }
        for Effective { name, values, place, .. } in &self.effective {
            writeln!(f, "  {name}: {} ({})", values.join(", "), place.as_deref().unwrap_or_default())?;
        }
        self.idle.iter().try_for_each(|(map, keys)| writeln!(f, "  {map}: known, without effect yet: {keys}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print_hosts(f)?;
        writeln!(f, "\nCertificates ({})", self.certificates.len())?;
        for (secret, checked) in &self.certificates {
            writeln!(f, "  {secret}: {}", checked.names.join(", "))?;
            writeln!(f, "    {}", checked.summary())?;
        }
        write!(f, "{}{}", self.annotations, self.settings)?;
        if self.faults.is_empty() {
            return writeln!(f, "\nNo faults.");
        }
        writeln!(f, "\nFaults ({})", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

fn hosts(update: Update) -> BTreeMap<String, VirtualHost> {
    let served =
        |(host, value): (xds::resource::HostPattern, Option<VirtualHost>)| Some((host.as_str().to_owned(), value?));
    update.virtual_hosts.into_iter().filter_map(served).collect()
}

/// What is behind each cluster, in words.
fn backends(update: &Update) -> BTreeMap<String, String> {
    let endpoints: BTreeMap<&str, usize> = update
        .endpoints
        .iter()
        .filter_map(|(name, set)| Some((name.as_str(), set.as_ref()?.addresses.len())))
        .collect();
    let words = |name: &str, cluster: &xds::resource::Cluster| {
        let protocol = match cluster.protocol {
            UpstreamProtocol::Http1 => "HTTP/1.1",
            UpstreamProtocol::H2c => "HTTP/2",
        };
        match &cluster.discovery {
            Discovery::Dns { host, port } => format!("{host}:{port}, {protocol}"),
            Discovery::Endpoints => match endpoints.get(name).copied().unwrap_or(0) {
                1 => format!("1 endpoint, {protocol}"),
                count => format!("{count} endpoints, {protocol}"),
            },
        }
    };
    let clusters = update.clusters.iter();
    clusters
        .filter_map(|(name, cluster)| Some((name.as_str().to_owned(), words(name.as_str(), cluster.as_ref()?))))
        .collect()
}

fn visibility(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::External => "external",
        Visibility::ClusterLocal => "cluster-local",
    }
}

fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(text) => format!("= {text}"),
        PathMatch::StringPrefix(text) => format!("{text}*"),
        PathMatch::ElementPrefix(text) if text.ends_with('/') => format!("{text}**"),
        PathMatch::ElementPrefix(text) => format!("{text}/**"),
    }
}

fn headers(route: &Route) -> Vec<String> {
    let condition = |header: &xds::resource::HeaderMatch| match &header.exact {
        Some(value) => format!("{}: {value}", header.name),
        None => format!("{} is present", header.name),
    };
    route.headers.iter().map(condition).collect()
}
