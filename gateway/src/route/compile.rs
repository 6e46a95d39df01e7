//! Routes as requests are matched against: compact, with header names and values parsed once.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use xds::resource::{self, PathMatch, RouteSet, SetHeader};

use crate::upstream::Cluster;

/// The routes of one or more hosts, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The first one that matches is taken.
    pub routes: Box<[Route]>,
    /// The answer to `K-Network-Hash: override`.
    pub probe_hash: Option<Box<[u8; 32]>>,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// On which paths.
    pub path: PathRule,
    /// Headers that must be present as said.
    pub conditions: Box<[Condition]>,
    /// Where the request goes.
    pub action: Action,
    /// Where it went before, for as long as a cluster of `action` is unknown.
    pub last_good: Option<Box<LastGood>>,
}

/// What a route did while its clusters were known. Holds these clusters, as nothing else may name them any more.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// The action.
    pub action: Action,
    /// The clusters of its targets, in their order.
    pub clusters: Box<[Option<Arc<Cluster>>]>,
}

/// A condition on the path, without the query; case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// Every path.
    All,
    /// The path is this text.
    Exact(Arc<str>),
    /// The path starts with this text, at any character.
    StringPrefix(Arc<str>),
    /// The path's elements start with these.
    ElementPrefix(Arc<str>),
}

/// A condition on a request header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Header name.
    pub name: HeaderName,
    /// The exact value, or `None` for presence.
    pub exact: Option<HeaderValue>,
}

/// Request headers to set.
pub type HeaderList = Box<[(HeaderName, HeaderValue)]>;

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Candidates with their weights.
    pub targets: Box<[Target]>,
    /// Speak HTTP/1.1 to the upstream whatever the cluster's protocol is.
    pub force_http1: bool,
    /// What is changed in the request, if anything is.
    rewrite: Option<Box<Rewrite>>,
}

/// One candidate of an [`Action`].
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Share of the sum of weights; 0 gets no request.
    pub weight: u32,
    /// Request headers that are set when this candidate is picked.
    set_headers: Option<Box<HeaderList>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rewrite {
    set_headers: HeaderList,
    host: Option<HeaderValue>,
}

impl Action {
    /// Request headers to set, after those of the target.
    pub fn set_headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.rewrite.as_ref().map_or(&[], |rewrite| &rewrite.set_headers)
    }

    /// The authority that the upstream sees instead of the client's.
    pub fn rewrite_host(&self) -> Option<&HeaderValue> {
        self.rewrite.as_ref()?.host.as_ref()
    }

    /// True when every cluster that can be picked satisfies `known`.
    pub fn is_served(&self, known: impl Fn(&str) -> bool) -> bool {
        self.targets.iter().filter(|target| target.weight > 0).all(|target| known(&target.cluster))
    }

    /// Picks a target by exact weight: `draw(n)` yields a number below `n`. `None` when no weight is above zero.
    pub fn pick(&self, draw: impl FnOnce(u64) -> u64) -> Option<usize> {
        if let [only] = &*self.targets {
            return (only.weight > 0).then_some(0);
        }
        let sum: u64 = self.targets.iter().map(|target| u64::from(target.weight)).sum();
        if sum == 0 {
            return None;
        }
        let mut at = draw(sum);
        self.targets.iter().position(|target| {
            let weight = u64::from(target.weight);
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit
        })
    }
}

impl Target {
    /// Request headers that are set when this candidate is picked.
    pub fn set_headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.set_headers.as_ref().map_or(&[], |headers| headers)
    }
}

impl Routes {
    /// Compiles a route set. Where `find` doesn't find all clusters of a route, it keeps what the route with the same
    /// match in `before` did.
    pub fn compile(set: &RouteSet, before: Option<&Self>, find: impl Fn(&str) -> Option<Arc<Cluster>>) -> Self {
        let compile = |route: &resource::Route| {
            let mut compiled = Route::compile(route)?;
            if !compiled.action.is_served(|name| find(name).is_some()) {
                compiled.last_good = before.and_then(|before| before.served_like(&compiled, &find));
            }
            Some(compiled)
        };
        Self { routes: set.routes.iter().filter_map(compile).collect(), probe_hash: set.probe_hash.map(Box::new) }
    }

    fn served_like(&self, wanted: &Route, find: impl Fn(&str) -> Option<Arc<Cluster>>) -> Option<Box<LastGood>> {
        let same = |old: &&Route| old.path == wanted.path && old.conditions == wanted.conditions;
        let old = self.routes.iter().find(same)?;
        if !old.action.is_served(|name| find(name).is_some()) {
            return old.last_good.clone();
        }
        let clusters = old.action.targets.iter().map(|target| find(&target.cluster)).collect();
        Some(Box::new(LastGood { action: old.action.clone(), clusters }))
    }

    /// True when the clusters of every route are `known`, so that compiling it needs nothing from before.
    pub fn is_served(&self, known: impl Fn(&str) -> bool) -> bool {
        self.routes.iter().all(|route| route.action.is_served(&known))
    }
}

impl Route {
    /// `None` when a condition names no valid header: leaving it out would make the route match too much. Translation
    /// refuses such routes, so this is for what comes from elsewhere.
    fn compile(route: &resource::Route) -> Option<Self> {
        Some(Self {
            path: PathRule::compile(&route.path),
            conditions: route.headers.iter().map(condition).collect::<Option<_>>()?,
            action: action(&route.action),
            last_good: None,
        })
    }
}

impl PathRule {
    fn compile(path: &PathMatch) -> Self {
        match path {
            PathMatch::StringPrefix(text) | PathMatch::ElementPrefix(text) if matches!(&**text, "" | "/") => Self::All,
            PathMatch::StringPrefix(text) => Self::StringPrefix(Arc::clone(text)),
            PathMatch::Exact(text) => Self::Exact(Arc::clone(text)),
            PathMatch::ElementPrefix(text) => match text.strip_suffix('/') {
                Some(shorter) => Self::ElementPrefix(Arc::from(shorter)),
                None => Self::ElementPrefix(Arc::clone(text)),
            },
        }
    }

    /// Whether a path satisfies this rule.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(text) => path == &**text,
            Self::StringPrefix(text) => path.starts_with(&**text),
            Self::ElementPrefix(text) => {
                path.strip_prefix(&**text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

fn condition(header: &resource::HeaderMatch) -> Option<Condition> {
    let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
    let exact = match &header.exact {
        Some(value) => Some(HeaderValue::from_str(value).ok()?),
        None => None,
    };
    Some(Condition { name, exact })
}

fn action(forward: &resource::Forward) -> Action {
    let host = forward.rewrite_host.as_deref().and_then(|host| HeaderValue::from_str(host).ok());
    let rewrite = (host.is_some() || !forward.set_headers.is_empty())
        .then(|| Box::new(Rewrite { set_headers: header_list(&forward.set_headers), host }));
    let target = |split: &resource::Split| Target {
        cluster: Arc::clone(split.cluster.shared()),
        weight: split.weight,
        set_headers: (!split.set_headers.is_empty()).then(|| Box::new(header_list(&split.set_headers))),
    };
    Action { targets: forward.splits.iter().map(target).collect(), force_http1: forward.force_http1, rewrite }
}

fn header_list(headers: &[SetHeader]) -> HeaderList {
    let parse = |header: &SetHeader| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&header.value).ok()?))
    };
    headers.iter().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_rules_cover_what_kubernetes_and_knative_say() {
        let text = |text: &str| Arc::<str>::from(text);
        let string = PathRule::compile(&PathMatch::StringPrefix(text("/foo")));
        let element = PathRule::compile(&PathMatch::ElementPrefix(text("/foo/")));
        let exact = PathRule::compile(&PathMatch::Exact(text("/foo")));
        for (path, by_string, by_element, by_exact) in [
            ("/foo", true, true, true),
            ("/foo/", true, true, false),
            ("/foo/bar", true, true, false),
            ("/foobar", true, false, false),
            ("/Foo", false, false, false),
            ("/", false, false, false),
        ] {
            assert_eq!(string.covers(path), by_string, "string prefix, {path}");
            assert_eq!(element.covers(path), by_element, "element prefix, {path}");
            assert_eq!(exact.covers(path), by_exact, "exact, {path}");
        }
        assert_eq!(PathRule::compile(&PathMatch::StringPrefix(text("/"))), PathRule::All);
    }

    fn weighted(weights: &[u32]) -> Action {
        let target = |weight: &u32| Target { cluster: Arc::from("c"), weight: *weight, set_headers: None };
        Action { targets: weights.iter().map(target).collect(), force_http1: false, rewrite: None }
    }

    #[test]
    fn every_draw_falls_to_the_target_whose_share_it_is() {
        let action = weighted(&[0, 3, 0, 1]);
        let picked: Vec<_> = (0..4)
            .map(|at| {
                action.pick(|sum| {
                    assert_eq!(sum, 4);
                    at
                })
            })
            .collect();
        assert_eq!(picked, [Some(1), Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn weights_of_zero_get_nothing() {
        assert_eq!(weighted(&[0]).pick(|_| 0), None);
        assert_eq!(weighted(&[0, 0]).pick(|_| 0), None);
        assert_eq!(weighted(&[5]).pick(|_| 0), Some(0));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        assert_eq!(weighted(&[u32::MAX, u32::MAX]).pick(|sum| sum - 1), Some(1));
    }
}
