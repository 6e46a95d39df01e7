//! Admission: decides what becomes of a request, before any endpoint is asked.

use std::borrow::Cow;
use std::net::IpAddr;

use http::StatusCode;

use crate::connection::{Connection, TlsFacts};
use crate::listener::ListenerName;
use crate::message::{Name, RequestHead};
use crate::overload::RETRY_AFTER;
use crate::route::matching::NoMatch;
use crate::route::{Decision, Matched, RequestFacts, host, match_request};
use crate::tables::Snapshot;

use super::failure::Failure;
use super::forwarded::{self, RequestId};
use super::probe;
use super::respond::Reply;
use super::settings::Settings;
use super::trust;
use super::validate::RejectReason;

/// The host of the readiness question that Kourier's deployments ask on the internal listener.
const READY_HOST: &str = "internalkourier";
const READY_PATH: &[u8] = b"/ready";

/// The verdict about a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes to an endpoint.
    Forward(Matched),
    /// The gateway replies itself.
    Reply(Reply),
}

/// The facts of a connection that a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The listener that accepted it.
    pub listener: ListenerName,
    /// The peer's address, or what the PROXY protocol says it is.
    pub peer: IpAddr,
    /// The handshake's facts.
    pub tls: Option<&'a TlsFacts>,
}

impl<'a> From<&'a Connection> for Arrival<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self { listener: connection.listener, peer: connection.client.ip(), tls: connection.tls.as_ref() }
    }
}

/// Decides about a request that [`validate`](super::validate) lets pass.
pub fn admit(
    snapshot: &Snapshot,
    arrival: &Arrival<'_>,
    head: &RequestHead,
    settings: &Settings,
    is_ready: bool,
) -> Verdict {
    let Some(authority) = head.authority() else {
        return Verdict::Reply(reject(RejectReason::InvalidHost));
    };
    if is_readiness_question(arrival, head) {
        return Verdict::Reply(readiness(is_ready));
    }
    match decide(snapshot, arrival, authority, head) {
        Decision::Forward(matched) => match probe::answer(&matched, &head.fields) {
            Some(reply) => Verdict::Reply(reply),
            None => Verdict::Forward(matched),
        },
        Decision::RedirectToHttps(matched) if is_https_already(settings, arrival, head) => Verdict::Forward(matched),
        Decision::RedirectToHttps(_) => Verdict::Reply(redirect(authority, head)),
        Decision::NotFound(NoMatch::Host) => Verdict::Reply(not_found("no service has this host")),
        Decision::NotFound(NoMatch::Route) => Verdict::Reply(not_found("no route of this host matches")),
        Decision::Misdirected => Verdict::Reply(Reply::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this host is not served on a connection that was made for another server name",
        )),
        Decision::InvalidHost => Verdict::Reply(reject(RejectReason::InvalidHost)),
    }
}

/// Sends a request that waits for an endpoint where the routes of its host lead by now, if these have changed. One that leads
/// nowhere any more keeps the way that it had when it came.
///
/// `head` is as the client sent it: what the gateway set is not matched by.
pub fn follow_change(matched: &mut Matched, snapshot: &Snapshot, arrival: &Arrival<'_>, head: &RequestHead) {
    let Some(authority) = head.authority() else { return };
    if let Decision::Forward(now) = decide(snapshot, arrival, authority, head)
        && !now.has_routes_of(matched)
    {
        *matched = now;
    }
}

fn decide(snapshot: &Snapshot, arrival: &Arrival<'_>, authority: &str, head: &RequestHead) -> Decision {
    let path: Cow<'_, str> = String::from_utf8_lossy(head.path());
    let facts =
        RequestFacts { listener: arrival.listener, tls: arrival.tls, authority, path: &path, fields: &head.fields };
    match_request(snapshot, &facts)
}

/// Returns the reply to a request that is not acceptable.
pub fn reject(reason: RejectReason) -> Reply {
    Reply::new(reason.status(), reason.to_string()).closing()
}

fn not_found(body: &str) -> Reply {
    Reply::new(StatusCode::NOT_FOUND, body)
}

fn readiness(is_ready: bool) -> Reply {
    if is_ready {
        Reply::new(StatusCode::OK, "ready")
    } else {
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

/// Returns `true` if a request asks for the readiness of the gateway.
pub fn is_readiness_question(arrival: &Arrival<'_>, head: &RequestHead) -> bool {
    arrival.listener == ListenerName::InternalHttp
        && head.path() == READY_PATH
        && head.authority().and_then(host::fold).is_some_and(|host| host == READY_HOST)
}

/// Returns the reply to a request that failed before an endpoint answered; `None` where nobody is there to take it.
pub(super) fn failed(failure: Failure) -> Option<Reply> {
    let reply = Reply::new(failure.consequence().status?, failure.message()).closing();
    Some(if failure.is_shortage() { reply.with(Name::RetryAfter, RETRY_AFTER.to_string()) } else { reply })
}

/// Returns `true` if a trusted proxy says that its client came by https: a redirect would send it in a circle.
///
/// The first of several proxies that each add theirs says how the client came. Traefik says `wss` of a WebSocket.
fn is_https_already(settings: &Settings, arrival: &Arrival<'_>, head: &RequestHead) -> bool {
    let schemes = head.fields.get(Name::XForwardedProto).unwrap_or_default();
    let scheme = schemes.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let is_secure = [&b"https"[..], b"wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure));
    is_secure && trust::is_trusted(settings, arrival.peer)
}

/// Redirects to the same place with https, on the default port.
fn redirect(authority: &str, head: &RequestHead) -> Reply {
    let host = host::without_port(authority).unwrap_or(authority);
    let target = String::from_utf8_lossy(&head.target);
    let target = if target.starts_with('/') { target } else { Cow::Borrowed("/") };
    let reply = Reply::new(StatusCode::MOVED_PERMANENTLY, "this host is served over https");
    reply.with(Name::Location, format!("https://{host}{target}"))
}

/// Returns the request's id: one that the client sent is believed from trusted peers and inside the cluster, where callers
/// follow their own requests by it.
pub(super) fn request_id(settings: &Settings, arrival: &Arrival<'_>, head: &RequestHead) -> RequestId {
    let is_internal = matches!(arrival.listener, ListenerName::InternalHttp | ListenerName::InternalHttps);
    forwarded::request_id(&head.fields, is_internal || trust::is_trusted(settings, arrival.peer))
}
