//! A KIngress to what it contributes: hosts with their routes, and TLS bindings.
//!
//! What is accepted is what Knative's webhook accepts (knative.dev/networking `ingress_validation.go`), since a
//! directory has no webhook. A KIngress is taken whole or not at all.

use hashbrown::HashMap;

use super::draft::{Draft, DraftHost, DraftTls, Drafting};
use super::host;
use crate::object::{KIngress, KIngressRule, KIngressSpec, ObjectRef};
use crate::resource::PackedRouteSet;
use crate::resource::{HostPattern, Route, RouteSet, Visibility};

mod hash;
mod path;

/// The annotation that says who serves a KIngress.
pub(super) const CLASS_ANNOTATION: &str = "networking.knative.dev/ingress.class";

/// The annotations that keep HTTP/2 from the upstream: Kourier's and ours.
const DISABLE_HTTP2: [&str; 2] = ["kourier.knative.dev/disable-http2", "postern.dev/disable-http2"];

/// The class that the KIngress asks for.
pub(super) fn class(ingress: &KIngress) -> Option<&str> {
    Some(ingress.metadata.annotations.as_ref()?.get(CLASS_ANNOTATION)?.as_str())
}

/// What the KIngress contributes; what is wrong with it goes to `on.problems`.
pub(super) fn draft(mut ingress: KIngress, object: &ObjectRef, on: &mut Drafting<'_>) -> Draft {
    set_defaults(&mut ingress.spec);
    let force_http1 = disables_http2(&ingress);
    let probe_hash = hash::probe_hash(&ingress.spec, object);
    if ingress.spec.rules.is_empty() {
        on.problems.error("spec.rules", "at least one rule is needed");
    }
    let redirect = redirects(&ingress.spec, on);
    let rules: Vec<Rule> = (ingress.spec.rules.iter().enumerate())
        .map(|(index, rule)| Rule::read(index, rule, object, force_http1, on))
        .collect();
    let hosts = gather_hosts(&rules, on);
    let (mut routes, mut longest, mut places) = (Vec::new(), 0, HashMap::<&[usize], usize>::new());
    let mut claims = Vec::with_capacity(hosts.len());
    for host in &hosts {
        let place = *places.entry(&host.rules).or_insert_with(|| {
            let set = route_set(&host.rules, &rules, probe_hash);
            longest = set.routes.len().max(longest);
            routes.push(PackedRouteSet::pack(&set));
            routes.len() - 1
        });
        claims.push(DraftHost {
            host: host.name.to_owned(),
            routes: place,
            visibility: host.visibility,
            redirect_to_https: redirect && host.visibility == Visibility::External,
        });
    }
    on.check_sizes(hosts.len(), longest);
    let tls = bindings(&ingress.spec, object, &rules, &hosts, on);
    Draft { created: super::draft::created(&ingress.metadata), routes, hosts: claims, tls }
}

/// What the webhook fills in (knative.dev/networking `ingress_defaults.go`). It counts for the hash.
fn set_defaults(spec: &mut KIngressSpec) {
    for rule in &mut spec.rules {
        if rule.visibility.is_empty() {
            "ExternalIP".clone_into(&mut rule.visibility);
        }
        let paths = rule.http.iter_mut().flat_map(|http| http.paths.iter_mut().flatten());
        for splits in paths.filter_map(|path| path.splits.as_mut()) {
            if let [only] = splits.as_mut_slice()
                && only.percent == 0
            {
                only.percent = 100;
            }
        }
    }
}

fn disables_http2(ingress: &KIngress) -> bool {
    let annotations = ingress.metadata.annotations.as_ref();
    let says = |name: &&str| annotations.and_then(|all| all.get(*name)).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    DISABLE_HTTP2.iter().any(says)
}

fn redirects(spec: &KIngressSpec, on: &mut Drafting<'_>) -> bool {
    match spec.http_option.as_str() {
        "" | "Enabled" => false,
        "Redirected" => on.options.https_redirects,
        other => {
            on.problems.error("spec.httpOption", format_args!("{other:?} is neither Enabled nor Redirected"));
            false
        }
    }
}

/// A rule as far as it could be read.
struct Rule {
    hosts: Vec<String>,
    visibility: Visibility,
    routes: Vec<Route>,
}

impl Rule {
    fn read(index: usize, rule: &KIngressRule, object: &ObjectRef, force_http1: bool, on: &mut Drafting<'_>) -> Self {
        let at = format!("spec.rules[{index}]");
        let visibility = match rule.visibility.as_str() {
            "ExternalIP" => Visibility::External,
            "ClusterLocal" => Visibility::ClusterLocal,
            other => {
                let message = format_args!("{other:?} is neither ExternalIP nor ClusterLocal");
                on.problems.error(format_args!("{at}.visibility"), message);
                Visibility::ClusterLocal
            }
        };
        let hosts = if rule.hosts.is_empty() { vec![HostPattern::ANY.to_owned()] } else { on.hosts(&at, &rule.hosts) };
        let paths = rule.http.as_ref().and_then(|http| http.paths.as_deref()).unwrap_or_default();
        if paths.is_empty() {
            on.problems.error(format_args!("{at}.http.paths"), "at least one path is needed");
        }
        let route = |(n, given)| path::route(&format!("{at}.http.paths[{n}]"), given, object, force_http1, on);
        Self { hosts, visibility, routes: paths.iter().enumerate().map(route).collect() }
    }
}

/// A host and the rules that it stands in.
struct Host<'a> {
    name: &'a str,
    visibility: Visibility,
    rules: Vec<usize>,
}

/// Each host once, in the order written. Rules with equal routes count as one, so that their hosts share them.
fn gather_hosts<'a>(rules: &'a [Rule], on: &mut Drafting<'_>) -> Vec<Host<'a>> {
    let mut first_like = HashMap::<&[Route], usize>::new();
    let mut place = HashMap::<&str, usize>::new();
    let mut hosts = Vec::<Host<'_>>::new();
    for (index, rule) in rules.iter().enumerate() {
        let like = *first_like.entry(&rule.routes).or_insert(index);
        for name in &rule.hosts {
            let at = *place.entry(name).or_insert(hosts.len());
            if at == hosts.len() {
                hosts.push(Host { name, visibility: rule.visibility, rules: Vec::new() });
            }
            let host = &mut hosts[at];
            if !host.rules.contains(&like) {
                host.rules.push(like);
            }
            if host.visibility != rule.visibility {
                let message =
                    format_args!("host {name:?} is ExternalIP in one rule and ClusterLocal in another; use one");
                on.problems.error(format_args!("spec.rules[{index}].visibility"), message);
            }
        }
    }
    hosts
}

/// The routes of rules, longest path first, in the order written among equals.
fn route_set(of: &[usize], rules: &[Rule], probe_hash: [u8; 32]) -> RouteSet {
    let mut routes: Vec<_> = of.iter().flat_map(|rule| rules[*rule].routes.iter().cloned()).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.as_str().len()));
    RouteSet { routes, probe_hash: Some(probe_hash) }
}

/// The bindings of `spec.tls`. A server name is offered where its rule is; a name in no rule, where any rule is.
fn bindings(
    spec: &KIngressSpec,
    object: &ObjectRef,
    rules: &[Rule],
    hosts: &[Host<'_>],
    on: &mut Drafting<'_>,
) -> Vec<DraftTls> {
    let visibility: HashMap<&str, Visibility> = hosts.iter().map(|host| (host.name, host.visibility)).collect();
    let external = rules.iter().any(|rule| rule.visibility == Visibility::External);
    let elsewhere = if external { Visibility::External } else { Visibility::ClusterLocal };
    let mut bindings = Vec::new();
    for (index, tls) in spec.tls.iter().enumerate() {
        let at = format!("spec.tls[{index}]");
        let Some(secret) = secret(&at, tls, object, on) else { continue };
        for name in on.hosts(&at, &tls.hosts) {
            let visibility = visibility.get(name.as_str()).copied().unwrap_or(elsewhere);
            on.bind(&at, &mut bindings, &name, &secret, visibility);
        }
    }
    bindings
}

fn secret(at: &str, tls: &crate::object::KIngressTls, object: &ObjectRef, on: &mut Drafting<'_>) -> Option<ObjectRef> {
    let namespace = if tls.secret_namespace.is_empty() { &*object.namespace } else { tls.secret_namespace.as_str() };
    if !host::is_object_name(&tls.secret_name) {
        on.problems.error(format_args!("{at}.secretName"), "the name of a Secret is needed");
        return None;
    }
    let shared = on.options.shared_secret_namespaces.iter().any(|shared| **shared == *namespace);
    if namespace != &*object.namespace && !shared {
        let message = format_args!(
            "Secrets of namespace {namespace:?} are not open to {:?}; use a Secret of the KIngress' own namespace",
            object.namespace
        );
        on.problems.error(format_args!("{at}.secretNamespace"), message);
        return None;
    }
    Some(ObjectRef::new(namespace, tls.secret_name.as_str()))
}
