//! What is answered on the metrics listener (read-only) and on the admin listener.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use xds::settings::Effect;

use super::reply::{Answer, answer, as_json, method_not_allowed, text};
use super::{Admin, cache, certificates, page};

/// Answers on the metrics listener: metrics and health, and nothing that changes anything.
pub(super) fn observe(admin: &Admin, request: &Parts) -> Answer {
    if !is_read(request) {
        return method_not_allowed("GET, HEAD");
    }
    match request.uri.path() {
        "/metrics" | "/stats/prometheus" => {
            metrics::gauge!("postern_ready").set(if admin.health.is_ready() { 1.0 } else { 0.0 });
            answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", admin.metrics.render())
        }
        "/livez" => live(admin),
        "/readyz" | "/ready" => ready(admin),
        _ => text(StatusCode::NOT_FOUND, "not found; here are /metrics, /livez and /readyz\n"),
    }
}

/// Answers on the admin listener; `body` is what of a request's body is read.
pub(super) fn administer(admin: &Admin, local: Option<SocketAddr>, request: &Parts, body: &str) -> Answer {
    if !is_addressed_as_loopback(request, local) {
        return text(StatusCode::MISDIRECTED_REQUEST, "this listener answers to localhost and its own address only\n");
    }
    if request.headers.keys().any(is_of_proxy) {
        return text(StatusCode::FORBIDDEN, "nobody reaches this listener through a proxy\n");
    }
    if request.method == Method::POST && !is_from_here(request) {
        return text(StatusCode::FORBIDDEN, "a page from elsewhere may not change anything here\n");
    }
    match request.uri.path() {
        "/drain" => return drain(admin, request),
        "/api/v1/cache/budget" => return cache::set_budget(admin, request, body),
        _ => {}
    }
    if !is_read(request) {
        return method_not_allowed("GET, HEAD");
    }
    if let Some(host) = request.uri.path().strip_prefix("/api/v1/certificates/") {
        return certificates::show(admin, host);
    }
    match request.uri.path() {
        "/" => answer(StatusCode::OK, "text/html; charset=utf-8", page::render(admin)),
        "/api/v1/cache" => as_json(&cache::stats(admin)),
        "/api/v1/cache/advice" => as_json(&cache::advice(admin)),
        "/api/v1/certificates" => certificates::list(admin, request.uri.query()),
        "/api/v1/secrets/faults" => certificates::faults(admin),
        "/api/v1/faults" => as_json(&admin.faults.all().iter().map(fault).collect()),
        "/api/v1/settings" => as_json(&admin.settings.load().iter().map(setting).collect()),
        "/api/v1/status" => as_json(&status(admin)),
        _ => observe(admin, request),
    }
}

fn is_read(request: &Parts) -> bool {
    request.method == Method::GET || request.method == Method::HEAD
}

/// A page in a browser can reach loopback under a name of its own (DNS rebinding); such a name is refused.
fn is_addressed_as_loopback(request: &Parts, local: Option<SocketAddr>) -> bool {
    let Some(host) = request.headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    host.parse().is_ok_and(|host| is_loopback(&host, local))
}

/// Whether a proxy, this gateway above all, adds such a header to what it forwards. Whoever may make it forward requests may
/// have named this listener as a backend.
fn is_of_proxy(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-forwarded-")
        || *name == FORWARDED
        || *name == VIA
        || matches!(text, "x-real-ip" | "x-request-id")
}

/// A browser says which page sends a POST, and lets any page do so; other clients say nothing. Only a page of this listener is
/// from here, not one that another port of the host has.
fn is_from_here(request: &Parts) -> bool {
    let Some(origin) = request.headers.get(ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

fn is_loopback(authority: &Authority, local: Option<SocketAddr>) -> bool {
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || local.is_some_and(|local| local.ip() == ip))
}

fn drain(admin: &Admin, request: &Parts) -> Answer {
    if request.method != Method::POST {
        return method_not_allowed("POST");
    }
    tracing::info!("an operator asked for a drain");
    admin.drain.notify_one();
    text(StatusCode::ACCEPTED, "draining\n")
}

fn live(admin: &Admin) -> Answer {
    let stuck = admin.health.stuck_loops();
    if stuck.is_empty() {
        return text(StatusCode::OK, "alive\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}\n", stuck.join(", ")))
}

fn ready(admin: &Admin) -> Answer {
    match admin.health.unready_reason() {
        None => text(StatusCode::OK, "ready\n"),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

fn status(admin: &Admin) -> Value {
    let tables = admin.tables.load();
    let certs = admin.certs.stats();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": admin.health.is_ready(),
        "configurationVersion": tables.version,
        "virtualHosts": tables.routes.len(),
        "clusters": tables.clusters.len(),
        "tlsNames": tables.tls.len(),
        "faults": admin.faults.len(),
        "overload": overload(admin),
        "certificates": {
            "cached": certs.entries,
            "bytes": certs.bytes,
            "budgetBytes": certs.budget,
            "hits": certs.hits,
            "misses": certs.misses,
            "loads": certs.loads,
            "evictions": certs.evictions,
            "sealed": certs.sealed.map(|sealed| json!({
                "copies": sealed.entries,
                "bytes": sealed.bytes,
                "limitBytes": sealed.limit,
                "served": sealed.served,
                "servedStale": sealed.stale,
            })),
        },
    })
}

fn overload(admin: &Admin) -> Value {
    let (limit, working_set) = admin.overload.usage().unzip();
    let plan = admin.overload.plan().map(|plan| {
        let parts = plan.parts().map(|(part, bytes)| (format!("{part}Bytes"), json!(bytes)));
        let whole = [
            ("limitBytes".to_owned(), json!(plan.limit)),
            ("fits".to_owned(), json!(plan.fits())),
            ("maxConnections".to_owned(), json!(plan.max_connections)),
        ];
        whole.into_iter().chain(parts).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "stage": admin.overload.stage().as_str(),
        "limitBytes": limit,
        "workingSetBytes": working_set,
        "plan": plan,
    })
}

fn fault(fault: &xds::Fault) -> Value {
    json!({
        "subject": fault.subject.to_string(),
        "field": fault.field,
        "message": fault.message,
        "severity": fault.severity.as_str(),
    })
}

fn setting(setting: &crate::config::Effective) -> Value {
    let changes = match setting.effect {
        Effect::Now => "live",
        Effect::NextStart => "at the next start",
        Effect::Never => "not by a config map",
    };
    json!({
        "name": setting.name,
        "values": setting.values,
        "origin": setting.origin.to_string(),
        "configMap": setting.place,
        "changes": changes,
        "atNextStart": setting.waiting,
    })
}
