//! The decision about a request: a function of the tables and a few facts.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use xds::resource::{Forward, Visibility};

use crate::connection::TlsFacts;
use crate::listener::ListenerName;
use crate::message::Fields;
use crate::tables::Snapshot;
use crate::upstream::Cluster;

use super::host;
use super::parsed::ParsedRoute;
use super::routes::{Opened, Routes, is_served, pick_split};

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
    /// The request's fields.
    pub fields: &'a Fields,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to an upstream.
    Forward(Matched),
    /// 301 to the same place with https; the route is where the request goes if it came by https after all.
    RedirectToHttps(Matched),
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

/// The route that was taken, with the split that was picked. Holds no snapshot.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The routes of the host.
    host: Arc<Routes>,
    /// Where the route that is followed stands, and which it is: in `host`, or in what was kept of before.
    routes: Arc<Routes>,
    opened: Arc<Opened>,
    route: usize,
    split: usize,
    /// The split's cluster, if it was kept of before.
    held: Option<Arc<Cluster>>,
}

impl Matched {
    /// What is done.
    pub fn action(&self) -> &Forward {
        &self.opened.set.routes[self.route].action
    }

    /// The name of the cluster that was picked.
    pub fn cluster(&self) -> &str {
        self.action().splits[self.split].cluster.as_str()
    }

    /// The cluster, if it may be known to this route alone.
    pub fn held_cluster(&self) -> Option<&Arc<Cluster>> {
        self.held.as_ref()
    }

    /// Whether both follow the same routes of a host: they have not been replaced in between, nor is what was kept of
    /// before left for what replaced it.
    pub fn has_routes_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.host, &other.host) && Arc::ptr_eq(&self.routes, &other.routes)
    }

    /// Request headers to set, in this order: those of the split, then those of the route, so that these win.
    pub fn set_headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        let parsed = self.parsed();
        parsed.split_headers[self.split].iter().chain(&parsed.set_headers)
    }

    /// The authority that the upstream sees instead of the client's.
    pub fn rewrite_host(&self) -> Option<&HeaderValue> {
        self.parsed().host.as_ref()
    }

    /// The answer to `K-Network-Hash: override`.
    pub fn probe_hash(&self) -> Option<[u8; 32]> {
        let is_usual = Arc::ptr_eq(&self.host, &self.routes);
        if is_usual { self.opened.set.probe_hash } else { self.host.open().set.probe_hash }
    }

    fn parsed(&self) -> &ParsedRoute {
        &self.opened.parsed[self.route]
    }
}

/// Decides what becomes of a request.
pub fn match_request(snapshot: &Snapshot, facts: &RequestFacts<'_>) -> Decision {
    let Some(host) = host::fold(facts.authority) else { return Decision::InvalidHost };
    if facts.tls.is_some_and(|tls| is_misdirected(snapshot, facts.listener, tls, &host)) {
        return Decision::Misdirected;
    }
    let Some(entry) = snapshot.routes.lookup(&host, facts.listener) else { return Decision::NotFound(NoMatch::Host) };
    let to_https = entry.policy.redirect_to_https
        && entry.policy.visibility == Visibility::External
        && facts.listener.visibility() == Visibility::External
        && facts.tls.is_none();
    let opened = entry.routes.open();
    let Some(route) = first_match(&opened, facts) else { return Decision::NotFound(NoMatch::Route) };
    let verdict = if to_https { Decision::RedirectToHttps } else { Decision::Forward };
    follow(snapshot, entry.routes, opened, route).map_or(Decision::NotFound(NoMatch::Route), verdict)
}

fn first_match(routes: &Opened, facts: &RequestFacts<'_>) -> Option<usize> {
    let candidates = routes.set.routes.iter().zip(&routes.parsed);
    candidates
        .enumerate()
        .find_map(|(at, (route, parsed))| (route.path.covers(facts.path) && parsed.holds(facts.fields)).then_some(at))
}

/// Follows the route if its clusters are known, else what was kept of before, else the route, which then waits.
fn follow(snapshot: &Snapshot, host: &Arc<Routes>, opened: Arc<Opened>, route: usize) -> Option<Matched> {
    let draw = |sum| fastrand::u64(..sum);
    let action = &opened.set.routes[route].action;
    let kept = host.last_good(route).filter(|_| !is_served(action, |name| snapshot.clusters.contains(name)));
    if let Some(kept) = kept {
        let opened = kept.routes.open();
        let split = pick_split(&opened.set.routes[kept.route].action.splits, draw)?;
        let (routes, held) = (Arc::clone(&kept.routes), kept.clusters[split].clone());
        return Some(Matched { host: Arc::clone(host), routes, opened, route: kept.route, split, held });
    }
    let split = pick_split(&action.splits, draw)?;
    Some(Matched { host: Arc::clone(host), routes: Arc::clone(host), opened, route, split, held: None })
}

/// A connection is for its server name, for hosts that the presented certificate covers, whichever Secret they are bound to,
/// and for hosts that are bound to its Secret (RFC 9110 §7.4, RFC 9113 §9.1.1). A connection with the default certificate is
/// for every host that has no binding of its own, too.
fn is_misdirected(snapshot: &Snapshot, listener: ListenerName, tls: &TlsFacts, host: &str) -> bool {
    if tls.server_name.as_deref() == Some(host) || tls.names.cover(host) {
        return false;
    }
    let binding = snapshot.tls.lookup(host).filter(|binding| listener.serves(*binding.policy));
    match (binding, &tls.secret) {
        (Some(binding), Some(presented)) => binding.secret != presented,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certstore::{SecretRef, SniPattern, TlsBinding};

    /// Whether a host is refused on a connection that was made for a server name with the certificate of a Secret.
    fn misdirected(server_name: Option<&str>, presented: Option<&str>, names: &[&str], host: &str) -> bool {
        let mut snapshot = Snapshot::default();
        for (pattern, secret, policy) in [
            ("*.shop.test", "wildcard", Visibility::External),
            ("eu.shop.test", "eu", Visibility::External),
            ("inner.shop.test", "inner", Visibility::ClusterLocal),
        ] {
            let secret = SecretRef::new("ns", secret);
            let pattern = SniPattern::try_from(pattern).expect("valid");
            snapshot.tls.insert(pattern, TlsBinding { secret, policy });
        }
        let tls = TlsFacts {
            server_name: server_name.map(Arc::from),
            secret: presented.map(|secret| SecretRef::new("ns", secret)),
            names: names.iter().copied().collect(),
            protocol_version: "TLSv1_3",
        };
        let fields = Fields::default();
        let listener = ListenerName::ExternalHttps;
        let facts = RequestFacts { listener, tls: Some(&tls), authority: host, path: "/", fields: &fields };
        matches!(match_request(&snapshot, &facts), Decision::Misdirected)
    }

    #[test]
    fn a_host_is_served_only_on_connections_whose_certificate_covers_it() {
        let (eu, all) = (&["eu.shop.test"][..], &["*.shop.test"][..]);
        for (server_name, presented, names, host, expected) in [
            (Some("eu.shop.test"), Some("eu"), eu, "EU.shop.test:443", false),
            (Some("us.shop.test"), Some("wildcard"), all, "jp.shop.test", false),
            (Some("us.shop.test"), Some("wildcard"), all, "eu.shop.test", false),
            (Some("us.shop.test"), Some("wildcard"), all, "a.eu.shop.test", true),
            (Some("eu.shop.test"), Some("eu"), eu, "us.shop.test", true),
            (Some("eu.shop.test"), Some("eu"), eu, "unbound.test", true),
            (None, None, eu, "unbound.test", false),
            (None, None, eu, "eu.shop.test", false),
            (None, None, eu, "us.shop.test", true),
        ] {
            assert_eq!(misdirected(server_name, presented, names, host), expected, "{host} on {server_name:?}");
        }
    }

    #[test]
    fn a_host_of_the_presented_secret_is_served_though_its_certificate_does_not_cover_it() {
        assert!(!misdirected(Some("us.shop.test"), Some("wildcard"), &["us.shop.test"], "jp.shop.test"));
        assert!(!misdirected(Some("us.shop.test"), Some("wildcard"), &[], "us.shop.test"));
    }
}
