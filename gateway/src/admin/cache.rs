//! `/api/v1/cache`: what the certificate cache does, and its budget.

use std::time::Duration;

use certstore::{SizeAdvice, Stats};
use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

use super::reply::{Answer, as_json, bad_request, method_not_allowed, timestamp};
use super::{Admin, BudgetChange};
use crate::config::parse_cache_size;

/// Ends an operator's change of the budget.
const RESET: &str = "reset";

/// Sums over the cache since the process began, and as of now.
pub(super) fn stats(admin: &Admin) -> Value {
    let stats = admin.certs.stats();
    json!({
        "budgetBytes": stats.budget,
        "bytes": stats.bytes,
        "heldBytes": stats.held_bytes,
        "sharedIntermediatesBytes": stats.shared_bytes,
        "entries": stats.entries,
        "hits": stats.hits,
        "misses": stats.misses,
        "hitRatio": hit_ratio(&stats),
        "refusedHits": stats.refused_hits,
        "loads": stats.loads,
        "failedLoads": stats.failed_loads,
        "loadsInFlight": stats.loads_in_flight,
        "waiting": stats.waiting,
        "evictions": stats.evictions,
        "swaps": stats.swaps,
        "keptLastGood": stats.kept,
        "reloadsQueued": stats.reloads_queued,
        "refusedSecrets": stats.refused,
        "soonestExpiry": stats.soonest_expiry.and_then(timestamp),
        "sealed": stats.sealed.map(|sealed| json!({
            "copies": sealed.entries,
            "bytes": sealed.bytes,
            "limitBytes": sealed.limit,
            "served": sealed.served,
            "servedStale": sealed.stale,
        })),
    })
}

/// What other budgets would bring.
pub(super) fn advice(admin: &Admin) -> Value {
    let advice = admin.certs.advice();
    let present = admin.certs.stats().budget;
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    json!({
        "budgetBytes": advice.budget,
        "presentBudgetBytes": present,
        "countedSeconds": advice.counted.as_secs_f64(),
        "sizes": advice.sizes.iter().map(size).collect::<Vec<_>>(),
        "references": advice.references,
        "measuredHitRatio": advice.measured_hit_ratio,
        "error": advice.error,
        "missSeconds": {"mean": seconds(advice.miss_mean), "p99": seconds(advice.miss_p99)},
        "sampledShare": advice.sampled,
        "droppedReferences": advice.dropped,
        "simulationBytes": advice.bytes,
    })
}

fn size(size: &SizeAdvice) -> Value {
    json!({
        "share": size.share,
        "budgetBytes": size.budget,
        "hitRatio": size.hit_ratio,
        "certificateSecondsP99": size.certificate_p99.as_secs_f64(),
    })
}

/// Of all that was asked for, what was there; `None` before the first.
fn hit_ratio(stats: &Stats) -> Option<f64> {
    let asked = stats.hits + stats.misses;
    (asked > 0).then(|| stats.hits as f64 / asked as f64)
}

/// Changes the budget to what `?size=SIZE`, or else the body, says; `reset` goes back to the setting.
pub(super) fn set_budget(admin: &Admin, request: &Parts, body: &str) -> Answer {
    if request.method != Method::POST {
        return method_not_allowed("POST");
    }
    let in_query = request.uri.query().and_then(|query| query.strip_prefix("size="));
    let size = match in_query.unwrap_or(body).trim() {
        RESET => None,
        text => match parse_cache_size(text) {
            Ok(_) => Some(text.to_owned()),
            Err(message) => return bad_request(format_args!("size: {message}; or {RESET}, for what the setting says")),
        },
    };
    as_json(&budget_change(&admin.operator.set_cert_cache(size)))
}

fn budget_change(change: &BudgetChange) -> Value {
    let setting = format!("cert-cache={} ({})", change.setting.values.join(", "), change.setting.origin);
    let lasts = if change.is_by_operator {
        format!("until this process ends or the setting changes, which is {setting}")
    } else {
        format!("as the setting says, which is {setting}")
    };
    json!({
        "wasBytes": change.was,
        "budgetBytes": change.is,
        "wantedBytes": change.wanted,
        "stage": change.stage.as_str(),
        "warning": change.warning,
        "setting": change.setting.values.join(", "),
        "settingOrigin": change.setting.origin.to_string(),
        "byOperator": change.is_by_operator,
        "lasts": lasts,
    })
}
