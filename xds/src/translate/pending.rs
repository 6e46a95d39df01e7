//! What has been touched since the last flush, and how it was before.
//!
//! Before anything changes a resource, it says so here, and the value that was in effect is kept until the flush. The
//! flush then compares it with the value in effect by then: what went back and forth is not told.

use std::hash::Hash;
use std::num::NonZeroU64;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::backends::Backing;
use super::objects::Serving;
use super::secrets::Secrets;
use super::users::IngressId;
use crate::object::ObjectRef;
use crate::resource::{Changes, ClusterName, HostPattern, SecretVersion, TlsBinding};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Pending {
    hosts: Before<HostPattern, Serving>,
    snis: Before<HostPattern, TlsBinding>,
    clusters: Before<ClusterName, Backing>,
    secrets: Map<ObjectRef, TouchedSecret>,
    recheck: HashSet<IngressId, foldhash::fast::RandomState>,
}

/// Values as they were at the last flush, of the keys that have been touched since.
type Before<K, V> = Map<K, Option<V>>;

#[derive(Debug)]
struct TouchedSecret {
    before: Option<NonZeroU64>,
    now: Option<Arc<str>>,
}

impl Pending {
    /// A virtual host is about to change.
    pub(super) fn touch_host(&mut self, host: &HostPattern, now: impl FnOnce() -> Option<Serving>) {
        touch(&mut self.hosts, host, now);
    }

    /// A TLS binding is about to change.
    pub(super) fn touch_sni(&mut self, sni: &HostPattern, now: impl FnOnce() -> Option<TlsBinding>) {
        // One text for both.
        let known = self.hosts.get_key_value(sni).map(|(host, _)| host.clone());
        touch(&mut self.snis, known.as_ref().unwrap_or(sni), now);
    }

    /// A cluster or its endpoints are about to change.
    pub(super) fn touch_cluster(&mut self, cluster: &ClusterName, now: impl FnOnce() -> Option<Backing>) {
        touch(&mut self.clusters, cluster, now);
    }

    /// A Secret changes from a version (by fingerprint) to another.
    pub(super) fn touch_secret(&mut self, object: &ObjectRef, before: Option<NonZeroU64>, now: Option<&Arc<str>>) {
        let touched = self.secrets.entry_ref(object).or_insert(TouchedSecret { before, now: None });
        touched.now = now.cloned();
    }

    /// What these objects refer to, or collide with, may have appeared or vanished.
    pub(super) fn recheck(&mut self, ingresses: impl IntoIterator<Item = IngressId>) {
        self.recheck.extend(ingresses);
    }

    /// The virtual hosts that differ.
    pub(super) fn take_hosts(
        &mut self,
        now: impl Fn(&HostPattern) -> Option<Serving>,
    ) -> Changes<HostPattern, Serving> {
        differing(&mut self.hosts, now)
    }

    /// The TLS bindings that differ.
    pub(super) fn take_snis(
        &mut self,
        now: impl Fn(&HostPattern) -> Option<TlsBinding>,
    ) -> Changes<HostPattern, TlsBinding> {
        differing(&mut self.snis, now)
    }

    /// The clusters that were touched, as they were, by name.
    pub(super) fn take_clusters(&mut self) -> Vec<(ClusterName, Option<Backing>)> {
        sorted(std::mem::take(&mut self.clusters).into_iter())
    }

    /// The Secrets that differ.
    pub(super) fn take_secrets(&mut self, secrets: &Secrets) -> Changes<ObjectRef, SecretVersion> {
        let touched = std::mem::take(&mut self.secrets);
        let differ = touched.into_iter().filter(|(object, secret)| secret.before != secrets.version(object));
        sorted(differ.map(|(object, secret)| (object, secret.now.map(SecretVersion))))
    }

    /// The objects whose references are to be looked at again, in the order of their slots.
    pub(super) fn take_rechecks(&mut self) -> Vec<IngressId> {
        let mut ids: Vec<_> = std::mem::take(&mut self.recheck).into_iter().collect();
        ids.sort_unstable();
        ids
    }
}

fn touch<K: Clone + Eq + Hash, V>(before: &mut Before<K, V>, key: &K, now: impl FnOnce() -> Option<V>) {
    before.entry_ref(key).or_insert_with(now);
}

fn differing<K: Ord, V: PartialEq>(before: &mut Before<K, V>, now: impl Fn(&K) -> Option<V>) -> Changes<K, V> {
    let touched = std::mem::take(before).into_iter();
    sorted(touched.filter_map(|(key, before)| {
        let now = now(&key);
        (now != before).then_some((key, now))
    }))
}

/// In the order of their names, so that equal changes make equal Updates.
fn sorted<K: Ord, V>(changes: impl Iterator<Item = (K, Option<V>)>) -> Vec<(K, Option<V>)> {
    let mut changes: Vec<_> = changes.collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    changes
}
