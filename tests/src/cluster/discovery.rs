//! What the API says about itself: versions, groups, resources.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kind::{Facts, Kind};

/// The answer for a path that isn't about objects.
pub(super) fn answer(path: &str, minor: u32) -> Option<Value> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments[..] {
        ["version"] => Some(json!({
            "major": "1", "minor": minor.to_string(), "gitVersion": format!("v1.{minor}.0+simulated"), "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "simulated",
        })),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})),
        ["apis", name] => groups().into_iter().find(|group| group["name"] == name),
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => None,
    }
}

fn all() -> impl Iterator<Item = &'static Facts> {
    Kind::ALL.into_iter().map(Kind::facts)
}

fn groups() -> Vec<Value> {
    let named: BTreeSet<_> =
        all().filter(|facts| !facts.group.is_empty()).map(|facts| (facts.group, facts.version)).collect();
    let group = |(name, version)| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version})
    };
    named.into_iter().map(group).collect()
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for facts in all().filter(|facts| facts.group == group && facts.version == version) {
        let resource = |name: String, verbs: &[&str]| {
            json!({
                "name": name, "singularName": "", "namespaced": facts.namespaced, "kind": facts.kind, "verbs": verbs,
            })
        };
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        resources.push(resource(facts.plural.to_owned(), &verbs));
        if facts.has_status {
            resources.push(resource(format!("{}/status", facts.plural), &["get", "patch", "update"]));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let known = !resources.is_empty();
    known.then(|| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
        })
    })
}
