//! Admission: what becomes of a request is decided here, before any upstream is asked.

use std::net::IpAddr;

use http::{HeaderValue, StatusCode, Uri, Version, header};
use pingora_http::RequestHeader;

use crate::connection::{Connection, TlsFacts};
use crate::listener::ListenerName;
use crate::overload::RETRY_AFTER;
use crate::route::matching::NoMatch;
use crate::route::{Decision, Matched, RequestFacts, host, match_request};
use crate::tables::Snapshot;

use super::forwarded;
use super::hygiene::Refusal;
use super::probe;
use super::respond::Answer;
use super::settings::Settings;

/// The host of the readiness question that Kourier's deployments ask on the internal listener.
const READY_HOST: &str = "internalkourier";
const READY_PATH: &str = "/ready";

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission {
    /// It goes to an upstream.
    Forward(Matched),
    /// It is answered here.
    Answer(Answer),
}

/// The facts of a connection that a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Where it came in.
    pub listener: ListenerName,
    /// The client's address.
    pub client: IpAddr,
    /// The handshake's facts.
    pub tls: Option<&'a TlsFacts>,
}

impl<'a> From<&'a Connection> for Arrival<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self { listener: connection.listener, client: connection.client.ip(), tls: connection.tls.as_ref() }
    }
}

/// Decides about a request whose form is in order.
pub fn admit(snapshot: &Snapshot, arrival: &Arrival<'_>, request: &RequestHeader, is_ready: bool) -> Admission {
    let Some(authority) = authority(request) else {
        return Admission::Answer(refuse(Refusal::InvalidHost));
    };
    if is_readiness_question(arrival, request) {
        return Admission::Answer(readiness(is_ready));
    }
    match match_request(snapshot, &facts(arrival, authority, request)) {
        Decision::Forward(matched) => match probe::answer(&matched, &request.headers) {
            Some(answer) => Admission::Answer(answer),
            None => Admission::Forward(matched),
        },
        Decision::RedirectToHttps => Admission::Answer(redirect(authority, request)),
        Decision::NotFound(NoMatch::Host) => Admission::Answer(not_found("no service has this host")),
        Decision::NotFound(NoMatch::Route) => Admission::Answer(not_found("no route of this host matches")),
        Decision::Misdirected => Admission::Answer(Answer::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this host is not served on a connection that was made for another server name",
        )),
        Decision::InvalidHost => Admission::Answer(refuse(Refusal::InvalidHost)),
    }
}

/// A request that waits for an endpoint goes where the routes of its host lead by now, if these have changed. One that leads
/// nowhere any more keeps the way that it had when it came.
pub fn follow_change(matched: &mut Matched, snapshot: &Snapshot, arrival: &Arrival<'_>, request: &RequestHeader) {
    let Some(authority) = authority(request) else { return };
    if let Decision::Forward(now) = match_request(snapshot, &facts(arrival, authority, request))
        && !now.has_routes_of(matched)
    {
        *matched = now;
    }
}

fn facts<'a>(arrival: &Arrival<'a>, authority: &'a str, request: &'a RequestHeader) -> RequestFacts<'a> {
    let (path, headers) = (request.uri.path(), &request.headers);
    RequestFacts { listener: arrival.listener, tls: arrival.tls, authority, path, headers }
}

/// The answer to a request whose form is not in order.
pub fn refuse(refusal: Refusal) -> Answer {
    Answer::new(refusal.status(), refusal.to_string()).closing()
}

fn not_found(body: &str) -> Answer {
    Answer::new(StatusCode::NOT_FOUND, body)
}

fn readiness(is_ready: bool) -> Answer {
    if is_ready {
        Answer::new(StatusCode::OK, "ready")
    } else {
        Answer::new(StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

/// Whether a request asks for the readiness of the gateway.
pub fn is_readiness_question(arrival: &Arrival<'_>, request: &RequestHeader) -> bool {
    arrival.listener == ListenerName::InternalHttp
        && request.uri.path() == READY_PATH
        && authority(request).and_then(host::fold).is_some_and(|host| host == READY_HOST)
}

/// The answer to a request for which there is no memory.
pub(super) fn overloaded() -> Answer {
    let answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is short of memory").closing();
    Answer { retry_after: Some(RETRY_AFTER), ..answer }
}

/// To the same place with https, on the default port.
fn redirect(authority: &str, request: &RequestHeader) -> Answer {
    let host = host::without_port(authority).unwrap_or(authority);
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut answer = Answer::new(StatusCode::MOVED_PERMANENTLY, "this host is served over https");
    answer.location = Some(format!("https://{host}{path}"));
    answer
}

/// The authority of a request: `:authority`, or `Host`.
pub fn authority(request: &RequestHeader) -> Option<&str> {
    authority_of(request.version, &request.uri, request.headers.get(header::HOST))
}

/// [`authority`], from the parts of a head that say it.
pub(super) fn authority_of<'a>(version: Version, target: &'a Uri, host: Option<&'a HeaderValue>) -> Option<&'a str> {
    let of_target = (version == Version::HTTP_2).then(|| target.authority()).flatten();
    match of_target {
        Some(authority) => Some(authority.as_str()),
        None => host?.to_str().ok(),
    }
}

/// The request's id: one that the client sent is believed from trusted peers and inside the cluster, where callers
/// follow their own requests by it.
pub fn request_id(settings: &Settings, arrival: &Arrival<'_>, request: &RequestHeader) -> HeaderValue {
    let is_internal = matches!(arrival.listener, ListenerName::InternalHttp | ListenerName::InternalHttps);
    forwarded::request_id(&request.headers, is_internal || forwarded::is_trusted(settings, arrival.client))
}
