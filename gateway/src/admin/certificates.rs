//! `/api/v1/certificates`: what is cached, and what a server name leads to; `/api/v1/secrets/faults`: what is refused.

use std::collections::HashMap;
use std::time::SystemTime;

use certstore::{EntryInfo, FaultInfo, RefusalInfo, Refused, SecretRef, Serving};
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use xds::resource::Visibility;

use super::Admin;
use super::reply::{Answer, as_json, bad_request, json_with, timestamp};
use crate::app::refusals;

/// How many certificates an answer has, unless fewer are asked for: each leaf is parsed for it, which takes about 20 µs.
const MAX_LIMIT: usize = 1000;

/// Of a Secret that more server names lead to, so many are listed.
const MAX_NAMES: usize = 20;

/// How many certificates there are in all, those that the answer leaves out included.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// `?limit=COUNT&offset=COUNT` of all that is cached, in the order of their Secrets.
pub(super) fn list(admin: &Admin, query: Option<&str>) -> Answer {
    let (mut limit, mut offset) = (MAX_LIMIT, 0);
    for (key, value) in pairs(query) {
        let Ok(number) = value.parse::<usize>() else {
            return bad_request(format_args!("{key}={value:?} is not a whole number"));
        };
        match key {
            "limit" => limit = number.clamp(1, MAX_LIMIT),
            "offset" => offset = number,
            _ => return bad_request(format_args!("{key:?} is not understood here; limit and offset are")),
        }
    }
    let page = admin.certs.page(offset, limit);
    let names = names_of(admin, page.entries.iter().map(|entry| &entry.secret));
    let certificates = page.entries.iter().map(|entry| certificate(entry, &names[&entry.secret])).collect();
    let mut answer = as_json(&certificates);
    answer.headers_mut().insert(TOTAL, HeaderValue::from(page.total));
    answer
}

/// What a handshake for `host` would be answered with, and why. Loads nothing.
pub(super) fn show(admin: &Admin, host: &str) -> Answer {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let tables = admin.tables.load();
    let Some((pattern, bound)) = tables.tls.resolve(&host) else {
        let answer = json!({
            "host": host,
            "state": "unknown",
            "message": "no certificate is configured for this name: a handshake for it is refused with unrecognized_name, \
                        unless there is a default certificate",
        });
        return json_with(StatusCode::NOT_FOUND, &answer);
    };
    let state = admin.certs.secret(bound.secret);
    let names = names_of(admin, std::iter::once(bound.secret));
    let is_refused = state.refusal.is_some() || state.fault.as_ref().is_some_and(|fault| fault.refused.is_some());
    let in_words = match &state.entry {
        Some(entry) if entry.last_error.is_some() => "last good",
        Some(_) => "cached",
        None if is_refused => "refused",
        None if state.is_loading => "loading",
        None => "not cached",
    };
    as_json(&json!({
        "host": host,
        "state": in_words,
        "match": if pattern.is_wildcard() { "wildcard" } else { "exact" },
        "pattern": pattern.to_string(),
        "secret": bound.secret.to_string(),
        "visibility": match bound.policy {
            Visibility::External => "external",
            Visibility::ClusterLocal => "cluster-local",
        },
        "loading": state.is_loading,
        "certificate": state.entry.as_ref().map(|entry| certificate(entry, &names[bound.secret])),
        "refusal": state.refusal.as_ref().map(refusal),
        "fault": state.fault.as_ref().map(fault),
    }))
}

/// Secrets that were asked for and are refused, and what is wrong with those that are served.
pub(super) fn faults(admin: &Admin) -> Answer {
    let faults = admin.certs.faults();
    let names = names_of(admin, faults.iter().map(|fault| &fault.secret));
    let faults = faults.iter().map(|wrong| {
        let mut answer = fault(wrong);
        answer["serverNames"] = json!(names[&wrong.secret].first);
        answer
    });
    as_json(&faults.collect())
}

fn fault(fault: &FaultInfo) -> Value {
    let refused = fault.refused.as_ref().map(|Refused { error, since, serving }| {
        json!({
            "reason": error.reason(),
            "message": xds::causes(error),
            "since": timestamp(*since),
            "serving": match serving {
                Serving::LastGood { .. } => "last good",
                Serving::SealedCopy => "sealed copy",
                Serving::Nothing { .. } => "nothing",
            },
            "note": refusals::in_words(serving),
        })
    });
    json!({
        "secret": fault.secret.to_string(),
        "refused": refused,
        "warnings": fault.warnings.iter().map(|warning| {
            json!({"reason": warning.reason(), "message": warning.to_string()})
        }).collect::<Vec<_>>(),
    })
}

/// The server names that lead to each of these Secrets.
fn names_of<'a>(admin: &Admin, secrets: impl Iterator<Item = &'a SecretRef>) -> HashMap<SecretRef, Names> {
    let mut names: HashMap<_, _> = secrets.map(|secret| (secret.clone(), Names::default())).collect();
    for (pattern, bound) in admin.tables.load().tls.iter() {
        if let Some(names) = names.get_mut(bound.secret) {
            names.count += 1;
            if names.first.len() < MAX_NAMES {
                names.first.push(pattern.to_string());
            }
        }
    }
    for names in names.values_mut() {
        names.first.sort_unstable();
    }
    names
}

/// Server names that lead to one Secret.
#[derive(Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

fn certificate(entry: &EntryInfo, names: &Names) -> Value {
    json!({
        "secret": entry.secret.to_string(),
        "version": entry.version,
        "serverNames": names.first,
        "serverNameCount": names.count,
        "askedFor": entry.asked_for,
        "names": entry.details.names,
        "issuer": entry.details.issuer,
        "serial": entry.details.serial,
        "fingerprintSha256": entry.details.fingerprint_hex(),
        "key": entry.details.key.map(|kind| kind.to_string()),
        "notBefore": timestamp(entry.details.not_before),
        "notAfter": timestamp(entry.details.not_after),
        "loadedAt": timestamp(entry.loaded_at),
        "lastUsedAt": SystemTime::now().checked_sub(entry.idle).and_then(timestamp),
        "idleSeconds": entry.idle.as_secs(),
        "bytes": entry.bytes,
        "source": match (entry.is_copy, entry.is_stale) {
            (false, _) => "secret",
            (true, false) => "sealed copy",
            (true, true) => "stale sealed copy",
        },
        "fromSealedCopy": entry.is_copy,
        "stale": entry.is_stale,
        "lastError": entry.last_error.as_ref().map(|error| xds::causes(error)),
        "retryInSeconds": entry.retry_in.map(|time| time.as_secs_f64()),
    })
}

fn refusal(refusal: &RefusalInfo) -> Value {
    json!({
        "reason": xds::causes(&refusal.error),
        "failures": refusal.failures,
        "retryInSeconds": refusal.retry_in.as_secs_f64(),
    })
}

/// The parts of a query; nothing in those that are understood needs percent-encoding.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}
