//! Clusters in use, for as long as they are.

use std::sync::Arc;
use std::time::Duration;

use certstore::name_map::NameMap;
use tokio::time::Instant;

use crate::upstream::Cluster;

/// What nobody has used for so long, and at most for twice as long, is given up when the next one is put to use.
const GENERATION: Duration = Duration::from_secs(60);

/// So many clusters begin a new generation before its time: no more than twice as many are held, at some 600 bytes.
const GENERATION_SIZE: usize = 4096;

/// Clusters in use, in two generations. Whoever uses one of the earlier takes it over into the recent one; when a new
/// generation begins, what is left of the earlier goes.
#[derive(Clone, Debug)]
pub(super) struct Used {
    recent: NameMap<Arc<Cluster>>,
    earlier: NameMap<Arc<Cluster>>,
    began: Instant,
}

impl Default for Used {
    fn default() -> Self {
        Self { recent: NameMap::default(), earlier: NameMap::default(), began: Instant::now() }
    }
}

impl Used {
    /// A cluster of the recent generation.
    pub(super) fn recent(&self, name: &str) -> Option<Arc<Cluster>> {
        self.recent.get(name).map(|entry| Arc::clone(&entry.value))
    }

    /// A cluster of either generation.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.recent.get(name).or_else(|| self.earlier.get(name)).map(|entry| &entry.value)
    }

    /// How many clusters there are.
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.earlier.len()
    }

    /// The same, in a new generation if it is time for one.
    pub(super) fn next(&self) -> Self {
        let is_over = self.began.elapsed() >= GENERATION || self.recent.len() >= GENERATION_SIZE;
        if is_over { Self { earlier: self.recent.clone(), ..Self::default() } } else { self.clone() }
    }

    /// Takes a cluster into the recent generation: the earlier's, or a new one.
    pub(super) fn take(&mut self, name: &Arc<str>, new: impl FnOnce() -> Arc<Cluster>) -> Arc<Cluster> {
        let cluster = self.earlier.remove(name).map_or_else(new, |(cluster, ())| cluster);
        self.recent.insert(Arc::clone(name), Arc::clone(&cluster), ());
        cluster
    }

    /// Forgets a cluster.
    pub(super) fn remove(&mut self, name: &str) {
        self.recent.remove(name);
        self.earlier.remove(name);
    }
}
