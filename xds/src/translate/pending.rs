//! What has been touched since the last flush, and how it was before.
//!
//! Before anything changes a resource, it says so here, and the value that was in effect is kept until the flush. The
//! flush then compares it with the value in effect by then: what went back and forth is not told.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::secrets::Secrets;
use super::users::IngressId;
use crate::object::ObjectRef;
use crate::resource::{Changes, SecretVersion};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Pending {
    secrets: Map<ObjectRef, TouchedSecret>,
    recheck: HashSet<IngressId, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct TouchedSecret {
    before: Option<u64>,
    now: Option<Arc<str>>,
}

impl Pending {
    /// A Secret changes from a version (by fingerprint) to another.
    pub(super) fn touch_secret(&mut self, object: &ObjectRef, before: Option<u64>, now: Option<&Arc<str>>) {
        let touched = self.secrets.entry_ref(object).or_insert(TouchedSecret { before, now: None });
        touched.now = now.cloned();
    }

    /// What these objects refer to may have appeared or vanished.
    pub(super) fn recheck(&mut self, ingresses: impl IntoIterator<Item = IngressId>) {
        self.recheck.extend(ingresses);
    }

    /// The Secrets that differ.
    pub(super) fn take_secrets(&mut self, secrets: &Secrets) -> Changes<ObjectRef, SecretVersion> {
        let touched = std::mem::take(&mut self.secrets);
        let differ = touched.into_iter().filter(|(object, secret)| secret.before != secrets.version(object));
        sorted(differ.map(|(object, secret)| (object, secret.now.map(SecretVersion))))
    }
}

fn sorted<K: Ord, V>(changes: impl Iterator<Item = (K, Option<V>)>) -> Changes<K, V> {
    let mut changes: Vec<_> = changes.collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    changes
}
