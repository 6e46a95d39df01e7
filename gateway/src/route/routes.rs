//! The routes of a host: the packed resource, shared with whoever made it, and what a change must not take away.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use xds::resource::{Forward, PackedRouteSet, RouteSet, Split};

use crate::upstream::{Cluster, Clusters};

use super::opened;
use super::parsed::ParsedRoute;

/// The routes of one or more hosts. Small but while requests come: most services are idle.
#[derive(Debug, Default)]
pub struct Routes {
    set: PackedRouteSet,
    /// Made by a request, and given up some time later.
    opened: ArcSwapOption<Opened>,
    kept: Option<Box<Kept>>,
}

/// Routes as the proxy needs them.
#[derive(Debug)]
pub struct Opened {
    /// The resource, unpacked.
    pub(super) set: RouteSet,
    /// Header names and values of the routes, in their order.
    pub(super) parsed: Box<[ParsedRoute]>,
}

/// For each route what it did before, if that is kept.
#[derive(Debug)]
struct Kept(Box<[Option<LastGood>]>);

/// What a route did while its clusters were known, for as long as one of those it names now is not.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// The routes of then; they have no last good ones themselves, so nothing older is held.
    pub(super) routes: Arc<Routes>,
    /// Which of them.
    pub(super) route: usize,
    /// The clusters of its splits: nothing else may name them any more.
    pub(super) clusters: Arc<[Option<Arc<Cluster>>]>,
}

impl Routes {
    /// The routes of a set. Where not all clusters of a route are known, what the route with the same match did
    /// `before` is kept.
    pub fn new(set: PackedRouteSet, before: Option<&Self>, clusters: &Clusters) -> Self {
        let mut kept: Vec<Option<LastGood>> = Vec::new();
        let readable = set.unpack();
        for (at, route) in readable.routes.iter().enumerate() {
            if is_served(&route.action, |name| clusters.contains(name)) {
                continue;
            }
            if let Some(last) = before.and_then(|before| before.served_like(route, clusters)) {
                kept.resize(readable.routes.len(), None);
                kept[at] = Some(last);
            }
        }
        let kept = (!kept.is_empty()).then(|| Box::new(Kept(kept.into())));
        Self { set, opened: ArcSwapOption::empty(), kept }
    }

    fn served_like(&self, wanted: &xds::resource::Route, clusters: &Clusters) -> Option<LastGood> {
        let same = |old: &xds::resource::Route| old.path == wanted.path && old.headers == wanted.headers;
        let set = self.set.unpack();
        let route = set.routes.iter().position(same)?;
        let action = &set.routes[route].action;
        if !is_served(action, |name| clusters.contains(name)) {
            return self.last_good(route).cloned();
        }
        let clusters = action.splits.iter().map(|split| clusters.get(split.cluster.as_str())).collect();
        let routes = Self { set: self.set.clone(), ..Self::default() };
        Some(LastGood { routes: Arc::new(routes), route, clusters })
    }

    /// The routes for a request.
    pub fn open(self: &Arc<Self>) -> Arc<Opened> {
        self.opened.load_full().unwrap_or_else(|| {
            let opened = Arc::new(Opened::new(self.set.unpack()));
            self.opened.store(Some(Arc::clone(&opened)));
            opened::note(self);
            opened
        })
    }

    /// Gives up what a request has made; the next one makes it anew.
    pub(super) fn close(&self) {
        self.opened.store(None);
    }

    /// True while what a request has made is held.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.opened.load().is_some()
    }

    /// What a route did before, if that is kept.
    pub fn last_good(&self, route: usize) -> Option<&LastGood> {
        self.kept.as_ref()?.0.get(route)?.as_ref()
    }

    /// True when the clusters of every route are `known`, so that nothing from before is kept.
    pub fn is_served(&self, known: impl Fn(&str) -> bool) -> bool {
        self.set.unpack().routes.iter().all(|route| is_served(&route.action, &known))
    }
}

impl Opened {
    fn new(set: RouteSet) -> Self {
        let parsed = set.routes.iter().map(ParsedRoute::new).collect();
        Self { set, parsed }
    }
}

/// True when every cluster that can be picked is `known`.
pub(super) fn is_served(action: &Forward, known: impl Fn(&str) -> bool) -> bool {
    action.splits.iter().filter(|split| split.weight > 0).all(|split| known(split.cluster.as_str()))
}

/// Picks a split by exact weight: `draw(n)` yields a number below `n`. `None` when no weight is above zero.
pub fn pick_split(splits: &[Split], draw: impl FnOnce(u64) -> u64) -> Option<usize> {
    if let [only] = splits {
        return (only.weight > 0).then_some(0);
    }
    let sum: u64 = splits.iter().map(|split| u64::from(split.weight)).sum();
    if sum == 0 {
        return None;
    }
    let mut at = draw(sum);
    splits.iter().position(|split| {
        let weight = u64::from(split.weight);
        let hit = at < weight;
        at = at.saturating_sub(weight);
        hit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds::resource::ClusterName;

    fn weighted(weights: &[u32]) -> Vec<Split> {
        let cluster = ClusterName::new(Arc::from("ns/a:80"));
        let split = |weight: &u32| Split { cluster: cluster.clone(), weight: *weight, set_headers: Vec::new() };
        weights.iter().map(split).collect()
    }

    #[test]
    fn routes_stay_packed_until_a_request_reads_them() {
        let set = RouteSet { routes: Vec::new(), probe_hash: Some([1; 32]) };
        let routes = Arc::new(Routes::new(PackedRouteSet::pack(&set), None, &Clusters::default()));
        assert!(routes.is_served(|_| true));
        assert!(!routes.is_open());
        assert_eq!(routes.open().set, set);
        assert!(routes.is_open());
    }

    #[test]
    fn every_draw_falls_to_the_split_whose_share_it_is() {
        let splits = weighted(&[0, 3, 0, 1]);
        let picked: Vec<_> = (0..4).map(|at| pick_split(&splits, |_| at)).collect();
        assert_eq!(picked, [Some(1), Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn draws_are_made_from_the_sum_of_the_weights() {
        let mut sum = 0;
        pick_split(&weighted(&[7, 0, 5]), |of| {
            sum = of;
            0
        });
        assert_eq!(sum, 12);
    }

    #[test]
    fn weights_of_zero_get_nothing() {
        assert_eq!(pick_split(&weighted(&[0]), |_| 0), None);
        assert_eq!(pick_split(&weighted(&[0, 0]), |_| 0), None);
        assert_eq!(pick_split(&weighted(&[5]), |_| 0), Some(0));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        assert_eq!(pick_split(&weighted(&[u32::MAX, u32::MAX]), |sum| sum - 1), Some(1));
    }
}
