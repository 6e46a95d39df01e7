//! An Ingress v1 to what it contributes: hosts with their routes, and TLS bindings.
//!
//! An Ingress is taken whole or not at all.

use std::sync::Arc;

use hashbrown::HashMap;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec};

use super::draft::{self, Draft, DraftHost, DraftTls, Drafting, PortRef};
use super::host;
use super::merge;
use crate::object::ObjectRef;
use crate::resource::PackedRouteSet;
use crate::resource::{ClusterName, Forward, HostPattern, PathMatch, Route, RouteSet, Split, Visibility};

/// What the Ingress contributes; what is wrong with it goes to `on.problems`.
pub(super) fn draft(ingress: &Ingress, object: &ObjectRef, on: &mut Drafting<'_>) -> Draft {
    let empty = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&empty);
    if spec.default_backend.is_none() && spec.rules.iter().flatten().next().is_none() {
        on.problems.error("spec", "either a rule or a defaultBackend is needed");
    }
    let mut hosts = Hosts::default();
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        add_rule(&format!("spec.rules[{index}]"), rule, object, &mut hosts, on);
    }
    let named = hosts.names.clone();
    if let Some(backend) = &spec.default_backend {
        add_default(backend, object, &mut hosts, on);
    }
    on.check_sizes(hosts.names.len(), hosts.routes.iter().map(Vec::len).max().unwrap_or_default());
    let (routes, claims) = claims(hosts);
    Draft { created: draft::created(&ingress.metadata), routes, hosts: claims, tls: bindings(spec, &named, on, object) }
}

/// Routes by host, in the order written.
#[derive(Default)]
struct Hosts {
    names: Vec<String>,
    routes: Vec<Vec<Route>>,
    places: HashMap<String, usize>,
}

impl Hosts {
    fn routes(&mut self, host: &str) -> &mut Vec<Route> {
        let place = *self.places.entry_ref(host).or_insert(self.names.len());
        if place == self.names.len() {
            self.names.push(host.to_owned());
            self.routes.push(Vec::new());
        }
        &mut self.routes[place]
    }
}

fn add_rule(at: &str, rule: &IngressRule, object: &ObjectRef, hosts: &mut Hosts, on: &mut Drafting<'_>) {
    let written = rule.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(HostPattern::ANY);
    let host = match host::fold(written) {
        Ok(host) => host,
        Err(error) => return on.problems.error(format_args!("{at}.host"), error),
    };
    let routes = hosts.routes(&host);
    for (index, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
        let at = format!("{at}.http.paths[{index}]");
        let Some(matches) = path_match(&at, path, on) else { continue };
        let Some(cluster) = cluster(&format!("{at}.backend"), &path.backend, object, on) else { continue };
        if routes.iter().any(|route| route.path == matches) {
            let message = format_args!("host {host:?} has {:?} twice; the first one counts", matches.as_str());
            on.problems.warn(format_args!("{at}.path"), message);
        } else {
            routes.push(route(matches, cluster));
        }
    }
}

/// A `defaultBackend` gets what no path of the Ingress' hosts matches, and, under `*`, what no host matches.
fn add_default(backend: &IngressBackend, object: &ObjectRef, hosts: &mut Hosts, on: &mut Drafting<'_>) {
    let Some(cluster) = cluster("spec.defaultBackend", backend, object, on) else { return };
    hosts.routes(HostPattern::ANY);
    let everything = PathMatch::StringPrefix("/".into());
    for routes in &mut hosts.routes {
        routes.push(route(everything.clone(), cluster.clone()));
    }
}

fn claims(hosts: Hosts) -> (Vec<PackedRouteSet>, Vec<DraftHost>) {
    let (mut packed, mut places) = (Vec::new(), HashMap::<PackedRouteSet, usize>::new());
    let mut claims = Vec::with_capacity(hosts.names.len());
    for (host, mut routes) in hosts.names.into_iter().zip(hosts.routes) {
        routes.sort_by_key(merge::precedence);
        let set = PackedRouteSet::pack(&RouteSet { routes, probe_hash: None });
        let place = *places.entry(set).or_insert_with_key(|set| {
            packed.push(set.clone());
            packed.len() - 1
        });
        claims.push(DraftHost { host, routes: place, visibility: Visibility::External, redirect_to_https: false });
    }
    (packed, claims)
}

fn path_match(at: &str, path: &HTTPIngressPath, on: &mut Drafting<'_>) -> Option<PathMatch> {
    let text = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    if !text.starts_with('/') {
        on.problems.error(format_args!("{at}.path"), format_args!("{text:?} does not start with `/`"));
        return None;
    }
    match path.path_type.as_str() {
        "Exact" => Some(PathMatch::Exact(text.into())),
        "Prefix" | "ImplementationSpecific" | "" => {
            let elements = text.trim_end_matches('/');
            let elements = if elements.is_empty() { "/" } else { elements };
            Some(PathMatch::ElementPrefix(elements.into()))
        }
        other => {
            let message = format_args!("{other:?} is none of Exact, Prefix, ImplementationSpecific");
            on.problems.error(format_args!("{at}.pathType"), message);
            None
        }
    }
}

fn cluster(at: &str, backend: &IngressBackend, object: &ObjectRef, on: &mut Drafting<'_>) -> Option<ClusterName> {
    let Some(service) = &backend.service else {
        let message = "only a Service can be a backend; name one under `service`";
        on.problems.error(at, message);
        return None;
    };
    let port = service.port.as_ref();
    let port = match (port.and_then(|port| port.number), port.and_then(|port| port.name.as_deref())) {
        (Some(number), _) => PortRef::from_number(number),
        (None, name) => PortRef::from_text(name.unwrap_or_default()),
    };
    let port = port.map_err(|error| on.problems.error(format_args!("{at}.service.port"), error)).ok()?;
    let cluster = draft::cluster(&object.namespace, &service.name, port);
    cluster.map_err(|error| on.problems.error(format_args!("{at}.service.name"), error)).ok()
}

fn route(path: PathMatch, cluster: ClusterName) -> Route {
    let splits = vec![Split { cluster, weight: 100, set_headers: Vec::new() }];
    let action = Forward { splits, set_headers: Vec::new(), rewrite_host: None, force_http1: false };
    Route { path, headers: Vec::new(), action }
}

/// The bindings of `spec.tls`; an entry without hosts is for all hosts of the rules.
fn bindings(spec: &IngressSpec, rule_hosts: &[String], on: &mut Drafting<'_>, object: &ObjectRef) -> Vec<DraftTls> {
    let mut bindings = Vec::new();
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let at = format!("spec.tls[{index}]");
        let name = tls.secret_name.as_deref().unwrap_or_default();
        if !host::is_object_name(name) {
            on.problems.warn(format_args!("{at}.secretName"), "no certificate is offered without the name of a Secret");
            continue;
        }
        let secret = ObjectRef::new(Arc::clone(&object.namespace), name);
        let hosts = match tls.hosts.as_deref() {
            Some(hosts) if !hosts.is_empty() => on.hosts(&at, hosts),
            _ => rule_hosts.iter().filter(|host| *host != HostPattern::ANY).cloned().collect(),
        };
        if hosts.is_empty() {
            on.problems.warn(format_args!("{at}.hosts"), "no certificate is offered without a host, here or in a rule");
        }
        for host in hosts {
            on.bind(&at, &mut bindings, &host, &secret, Visibility::External);
        }
    }
    bindings
}
