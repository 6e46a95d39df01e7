//! Deleting: at once, after the finalizers, or after a grace period.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;
use super::super::kind::Kind;
use super::super::store::Step;
use super::{Target, text, version_of};

/// How long a Pod may take to end unless it says otherwise, as Kubernetes defaults it.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// What a deletion depends on: the part of `DeleteOptions` that is honoured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    preconditions: Versions,
    grace_period_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Versions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Preconditions {
    /// As `kubectl delete --grace-period`.
    pub fn grace_seconds(seconds: i64) -> Self {
        Self { grace_period_seconds: Some(seconds), ..Self::default() }
    }

    fn check(&self, target: &Target<'_>, old: &Value) -> Result<(), ApiError> {
        let Versions { uid, resource_version } = &self.preconditions;
        if uid.is_some() && *uid != text(&old["metadata"]["uid"])
            || resource_version.is_some() && *resource_version != version_of(old)
        {
            let why = "the UID or ResourceVersion in the precondition does not match the object";
            return Err(ApiError::conflict(target.kind, target.name, why));
        }
        Ok(())
    }
}

/// Deletes an object that must exist. It stays, marked, while it has finalizers; a Pod on a node also until its grace
/// period is over, which somebody (a kubelet, a stage) ends by deleting it with a grace period of 0.
pub fn delete(target: &Target<'_>, old: Option<Value>, options: &Preconditions) -> Result<Step, ApiError> {
    let mut object = old.ok_or_else(|| ApiError::not_found(target.kind, target.name))?;
    options.check(target, &object)?;
    let grace = grace_seconds(target.kind, &object, options);
    if grace == 0 && !has_finalizers(&object) {
        return Ok(Step::Remove(object));
    }
    if !is_terminating(&object) {
        let ends = target.clock.now().checked_add(SignedDuration::from_secs(grace)).unwrap_or_default();
        object["metadata"]["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        if let Some(generation) = object["metadata"]["generation"].as_u64() {
            object["metadata"]["generation"] = (generation + 1).into();
        }
    }
    Ok(Step::Put(object))
}

fn grace_seconds(kind: Kind, object: &Value, options: &Preconditions) -> i64 {
    // A Pod that never got to a node has nothing to end.
    if kind != Kind::Pod || object["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return 0;
    }
    let of_pod = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    options.grace_period_seconds.or(of_pod).unwrap_or(DEFAULT_GRACE_SECONDS).max(0)
}

pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(super) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}
