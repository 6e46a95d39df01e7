//! Routes of one host from several Ingresses, and the order in which they are tried.

use std::cmp::Reverse;

use hashbrown::HashSet;

use crate::resource::{PathMatch, Route, RouteSet};

/// Where a route stands among those of its host. A `defaultBackend` comes last, then (Kubernetes' Ingress
/// documentation, "Multiple matches") the longest path goes first and an exact path before an equally long prefix.
///
/// An exact path that matches is as long as the request's path, so all exact ones can stand in front.
pub(super) fn precedence(route: &Route) -> (u8, Reverse<usize>) {
    let rank = match route.path {
        PathMatch::Exact(_) => 0,
        PathMatch::ElementPrefix(_) => 1,
        PathMatch::StringPrefix(_) => 2,
    };
    (rank, Reverse(route.path.as_str().len()))
}

/// Merges the routes of one host, given from the oldest object to the youngest. Of routes with the same path the oldest
/// is kept. Objects whose routes would go beyond `limit` are left out; their places are returned.
pub(super) fn merge(oldest_first: &[RouteSet], limit: usize) -> (RouteSet, Vec<usize>) {
    let (mut taken, mut left_out) = (HashSet::new(), Vec::new());
    let mut routes = Vec::<Route>::new();
    for (place, set) in oldest_first.iter().enumerate() {
        if routes.len() + set.routes.len() > limit {
            left_out.push(place);
            continue;
        }
        routes.extend(set.routes.iter().filter(|route| taken.insert(&route.path)).cloned());
    }
    routes.sort_by_key(precedence);
    routes.shrink_to_fit();
    (RouteSet { routes, probe_hash: None }, left_out)
}

/// The paths of `mine` that `others` have too.
pub(super) fn shared_paths<'a>(mine: &'a RouteSet, others: &RouteSet) -> Vec<&'a PathMatch> {
    let theirs: HashSet<&PathMatch> = others.routes.iter().map(|route| &route.path).collect();
    mine.routes.iter().map(|route| &route.path).filter(|path| theirs.contains(path)).collect()
}
