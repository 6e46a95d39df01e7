//! What goes out: the Update, faults of references, and metrics.

use std::net::SocketAddr;

use hashbrown::HashSet;
use metrics::{Unit, counter, describe_counter};

use super::Translator;
use super::backends::Backing;
use super::objects::Serving;
use super::problem::Problems;
use super::references;
use crate::fault::{Finder, Subject};
use crate::object::{ObjectEvent, ObjectKey, ObjectKind, ObjectRef};
use crate::resource::{ClusterName, EndpointSet, PackedRouteSet, Update, VirtualHost, cluster_parts};

const EVENTS: &str = "postern_translate_events_total";
const RESOURCES: &str = "postern_translate_resources_total";

/// Describes the translator's metrics to the recorder.
pub fn describe_metrics() {
    describe_counter!(EVENTS, Unit::Count, "Changes of objects taken in, by kind.");
    describe_counter!(RESOURCES, Unit::Count, "Changed resources told in Updates, by type.");
}

/// Counts a change that has been taken in.
pub(super) fn count_event(event: &ObjectEvent) {
    let kind = match event {
        ObjectEvent::Applied(object) => object.kind(),
        ObjectEvent::Deleted(key) => key.kind,
        ObjectEvent::Synced => return,
    };
    counter!(EVENTS, "kind" => kind.as_str()).increment(1);
}

/// Counts the resources of an Update.
pub(super) fn count_update(update: &Update) {
    for (resource, count) in [
        ("cluster", update.clusters.len()),
        ("endpoints", update.endpoints.len()),
        ("virtual_host", update.virtual_hosts.len()),
        ("tls_binding", update.tls_bindings.len()),
        ("secret", update.secrets.len()),
    ] {
        counter!(RESOURCES, "type" => resource).increment(count as u64);
    }
}

impl Translator {
    /// What differs from what was told before.
    pub(super) fn take_update(&mut self) -> Update {
        let limit = self.options.limits.routes_per_host;
        let state = &self.state;
        let mut update = Update {
            version: self.version + 1,
            tls_bindings: self.pending.take_snis(|sni| state.binding(sni.as_str())),
            secrets: self.pending.take_secrets(&state.secrets),
            complete: self.complete,
            ..Update::default()
        };
        let hosts = self.pending.take_hosts(|host| state.serving(host.as_str(), limit));
        let mut told = HashSet::new();
        for (host, serving) in hosts {
            update.virtual_hosts.push((host, serving.map(|serving| virtual_host(serving, &mut told))));
        }
        for (name, before) in self.pending.take_clusters() {
            self.compare_cluster(name, before, &mut update);
        }
        update
    }

    /// Looks again at what objects refer to, where something has appeared or vanished.
    pub(super) fn check_references(&mut self) {
        for id in self.pending.take_rechecks() {
            let Some(record) = self.state.objects.get(id) else { continue };
            let key = record.key();
            let mut problems = Problems::of(Subject::Object(key.clone()));
            references::check(&record, &self.state, &self.classes, &self.options, &mut problems);
            let faults = problems.into_faults();
            self.compare_status(&record, &faults);
            let reported = !faults.is_empty();
            if reported || record.state.reported {
                self.tell(Finder::References, &key, faults);
            }
            self.state.objects.set_reported(id, reported);
        }
    }

    fn compare_cluster(&mut self, name: ClusterName, before: Option<Backing>, update: &mut Update) {
        let now = self.state.backends.backing(&name);
        let cluster = now.as_ref().map(|backing| &backing.cluster);
        if cluster != before.as_ref().map(|backing| &backing.cluster) {
            update.clusters.push((name.clone(), cluster.cloned()));
        }
        let now = now.and_then(|backing| backing.addresses);
        self.check_fullness(&name, now.as_deref().unwrap_or_default().len());
        let used = |all: &Option<Vec<SocketAddr>>| {
            let used = all.as_ref()?.iter().take(self.options.limits.endpoints_per_cluster);
            Some(used.copied().collect::<Vec<_>>())
        };
        let (now, before) = (used(&now), used(&before.and_then(|backing| backing.addresses)));
        if now != before {
            let endpoints = now.map(|all| EndpointSet { addresses: self.addresses.share(all.as_slice()) });
            update.endpoints.push((name, endpoints));
        }
    }

    fn check_fullness(&mut self, cluster: &ClusterName, ready: usize) {
        let limit = self.options.limits.endpoints_per_cluster;
        if ready <= limit && self.overfull.is_empty() {
            return;
        }
        let (namespace, service, _) = cluster_parts(cluster.as_str());
        let object = ObjectRef::new(namespace, service);
        let key = ObjectKey { kind: ObjectKind::Service, object: object.clone() };
        let mut problems = Problems::of(Subject::Object(key.clone()));
        if ready > limit {
            problems.warn("", format_args!("{ready} endpoints are ready, of which the first {limit} are used"));
            self.overfull.insert(object);
        } else if !self.overfull.remove(&object) {
            return;
        }
        self.tell(Finder::References, &key, problems.into_faults());
    }
}

/// A virtual host; equal routes are shared, those of merged objects as well.
fn virtual_host(serving: Serving, told: &mut HashSet<PackedRouteSet>) -> VirtualHost {
    VirtualHost {
        visibility: serving.visibility,
        wildcard_depth: serving.wildcard_depth,
        redirect_to_https: serving.redirect_to_https,
        routes: told.get_or_insert(serving.routes).clone(),
    }
}
