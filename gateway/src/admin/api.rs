//! What is answered on the metrics listener (read-only) and on the admin listener.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use xds::settings::Effect;

use super::{Admin, page};

type Answer = Response<Full<Bytes>>;

/// Answers on the metrics listener: metrics and health, and nothing that changes anything.
pub(super) fn observe(admin: &Admin, request: &Parts) -> Answer {
    if !is_read(request) {
        return method_not_allowed("GET, HEAD");
    }
    match request.uri.path() {
        "/metrics" | "/stats/prometheus" => {
            answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", admin.metrics.render())
        }
        "/livez" => live(admin),
        "/readyz" | "/ready" => ready(admin),
        _ => text(StatusCode::NOT_FOUND, "not found; here are /metrics, /livez and /readyz\n"),
    }
}

/// Answers on the admin listener.
pub(super) fn administer(admin: &Admin, local: Option<SocketAddr>, request: &Parts) -> Answer {
    if !is_addressed_as_loopback(request, local) {
        return text(StatusCode::MISDIRECTED_REQUEST, "this listener answers to localhost and its own address only\n");
    }
    if request.uri.path() == "/drain" {
        return drain(admin, request);
    }
    if !is_read(request) {
        return method_not_allowed("GET, HEAD");
    }
    match request.uri.path() {
        "/" => answer(StatusCode::OK, "text/html; charset=utf-8", page::render(admin)),
        "/api/v1/certificates" => as_json(&admin.certs.entries().iter().map(certificate).collect()),
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
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
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

fn certificate(entry: &certstore::EntryInfo) -> Value {
    json!({
        "secret": entry.secret.to_string(),
        "names": entry.details.names,
        "issuer": entry.details.issuer,
        "serial": entry.details.serial,
        "fingerprintSha256": entry.details.fingerprint_hex(),
        "notAfter": timestamp(entry.details.not_after),
        "loadedAt": timestamp(entry.loaded_at),
        "idleSeconds": entry.idle.as_secs(),
        "bytes": entry.bytes,
        "fromSealedCopy": entry.is_copy,
        "stale": entry.is_stale,
        "lastError": entry.last_error.as_ref().map(|error| xds::causes(error)),
    })
}

/// RFC 3339; `None` for times that no calendar has.
fn timestamp(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}

fn as_json(value: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn method_not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allow} is allowed here\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
