//! The decision about a request: a function of the tables and a few facts, without pingora.

use std::sync::Arc;

use http::HeaderMap;
use xds::resource::Visibility;

use crate::connection::TlsFacts;
use crate::listener::ListenerName;
use crate::tables::Snapshot;
use crate::upstream::Cluster;

use super::{Action, LastGood, Route, Routes, Target, host};

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Where the request came in.
    pub listener: ListenerName,
    /// The handshake's facts; `None` on plain listeners.
    pub tls: Option<&'a TlsFacts>,
    /// `:authority` or `Host`, as received.
    pub authority: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to an upstream.
    Forward(Matched),
    /// 301 to the same place with https.
    RedirectToHttps,
    /// 404: no virtual host, or none of its routes, matches.
    NotFound(NoMatch),
    /// 421: the host is not among those that this TLS connection was made for.
    Misdirected,
    /// 400: the authority is no host.
    InvalidHost,
}

/// What was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No virtual host answers for the host.
    Host,
    /// The virtual host has no route for the request.
    Route,
}

/// The route that was taken, with the target that was picked. Holds no snapshot.
#[derive(Clone, Debug)]
pub struct Matched {
    routes: Arc<Routes>,
    route: usize,
    last_good: bool,
    target: usize,
}

impl Matched {
    /// The routes of the host.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// What is done: the route's action, or its last good one.
    pub fn action(&self) -> &Action {
        self.last_good().map_or(&self.routes.routes[self.route].action, |last| &last.action)
    }

    /// The target that was picked.
    pub fn target(&self) -> &Target {
        &self.action().targets[self.target]
    }

    /// The target's cluster, if it may be known to this route alone.
    pub fn held_cluster(&self) -> Option<&Arc<Cluster>> {
        self.last_good()?.clusters[self.target].as_ref()
    }

    fn last_good(&self) -> Option<&LastGood> {
        self.routes.routes[self.route].last_good.as_deref().filter(|_| self.last_good)
    }
}

/// Decides what becomes of a request.
pub fn match_request(snapshot: &Snapshot, facts: &RequestFacts<'_>) -> Decision {
    let Some(host) = host::fold(facts.authority) else { return Decision::InvalidHost };
    if facts.tls.is_some_and(|tls| is_misdirected(snapshot, facts.listener, tls, &host)) {
        return Decision::Misdirected;
    }
    let Some(entry) = snapshot.routes.lookup(&host, facts.listener) else { return Decision::NotFound(NoMatch::Host) };
    let to_https = entry.redirect_to_https
        && entry.visibility == Visibility::External
        && facts.listener.visibility() == Visibility::External
        && facts.tls.is_none();
    let Some(route) = entry.routes.routes.iter().position(|route| route.matches(facts)) else {
        return Decision::NotFound(NoMatch::Route);
    };
    if to_https {
        return Decision::RedirectToHttps;
    }
    choose_target(snapshot, &entry.routes, route).map_or(Decision::NotFound(NoMatch::Route), Decision::Forward)
}

impl Route {
    /// Whether path and headers are as the route asks.
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        let holds = |condition: &super::Condition| match &condition.exact {
            None => facts.headers.contains_key(&condition.name),
            Some(exact) => facts.headers.get_all(&condition.name).iter().any(|value| value == exact),
        };
        self.path.covers(facts.path) && self.conditions.iter().all(holds)
    }
}

/// The wanted action if its clusters are known, else the last good one, else the wanted one, which waits.
fn choose_target(snapshot: &Snapshot, routes: &Arc<Routes>, route: usize) -> Option<Matched> {
    let wanted = &routes.routes[route];
    let last_good =
        wanted.last_good.as_deref().filter(|_| !wanted.action.is_served(|name| snapshot.clusters.get(name).is_some()));
    let action = last_good.map_or(&wanted.action, |last| &last.action);
    let target = action.pick(|sum| fastrand::u64(..sum))?;
    Some(Matched { routes: Arc::clone(routes), route, last_good: last_good.is_some(), target })
}

/// A connection is for its server name, and for hosts whose binding is the Secret that was presented (RFC 9110 §7.4,
/// RFC 9113 §9.1.1). A connection with the default certificate is for every host that has no binding of its own.
fn is_misdirected(snapshot: &Snapshot, listener: ListenerName, tls: &TlsFacts, host: &str) -> bool {
    if tls.server_name.as_deref() == Some(host) {
        return false;
    }
    let binding = snapshot.tls.lookup(host).filter(|binding| listener.serves(binding.policy));
    match (binding, &tls.secret) {
        (Some(binding), Some(presented)) => binding.secret != *presented,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}
