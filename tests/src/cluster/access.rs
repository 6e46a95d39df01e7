//! Who may do what: bearer tokens, and rules as RBAC has them.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde::Deserialize;

use super::error::ApiError;
use super::request::ApiRequest;

/// A rule of a Role or `ClusterRole`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// API groups; `*` for all.
    pub api_groups: Vec<String>,
    /// Resources, with subresources as `ingresses/status`; `*` for all.
    pub resources: Vec<String>,
    /// Verbs; `*` for all.
    pub verbs: Vec<String>,
    /// If not empty, the names that it is about.
    pub resource_names: Vec<String>,
}

/// The users of the cluster.
#[derive(Debug, Default)]
pub struct Access {
    users: RwLock<HashMap<String, User>>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    grants: Vec<Grant>,
}

/// Rules, in a namespace or in all.
#[derive(Clone, Debug)]
struct Grant {
    namespace: Option<String>,
    rules: Vec<PolicyRule>,
}

impl Access {
    /// Adds a user who may do nothing yet.
    pub fn add_user(&self, token: &str, name: &str) {
        let user = User { name: name.to_owned(), grants: Vec::new() };
        self.users.write().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), user);
    }

    /// The token is no longer known.
    pub fn revoke_token(&self, token: &str) {
        self.users.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// Lets a user do what the rules say: as a `RoleBinding` in the namespace, or as a `ClusterRoleBinding`.
    pub fn grant(&self, user: &str, namespace: Option<&str>, rules: Vec<PolicyRule>) {
        let grant = Grant { namespace: namespace.map(ToOwned::to_owned), rules };
        self.change(user, |known| known.grants.push(grant.clone()));
    }

    /// Takes from a user everything that was granted.
    pub fn revoke_grants(&self, user: &str) {
        self.change(user, |known| known.grants.clear());
    }

    fn change(&self, user: &str, change: impl Fn(&mut User)) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.values_mut().filter(|known| known.name == user).for_each(change);
    }

    /// The user whose token this `Authorization` header has.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<String, ApiError> {
        let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let user = token.and_then(|token| users.get(token));
        user.map(|user| user.name.clone()).ok_or_else(|| ApiError::new(401, "Unauthorized", "Unauthorized"))
    }

    /// Whether the user may do what the request asks for.
    pub fn authorize(&self, user: &str, request: &ApiRequest) -> Result<(), ApiError> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let allowed = users.values().filter(|known| known.name == user).flat_map(|known| &known.grants).any(|grant| {
            let covers = grant.namespace.is_none() || grant.namespace == request.namespace;
            covers && grant.rules.iter().any(|rule| rule.allows(request))
        });
        if allowed { Ok(()) } else { Err(forbidden(user, request)) }
    }
}

impl PolicyRule {
    /// Everything.
    pub fn everything() -> Self {
        let all = || vec!["*".to_owned()];
        Self { api_groups: all(), resources: all(), verbs: all(), resource_names: Vec::new() }
    }

    /// These verbs on a resource of a group.
    pub fn new(group: &str, resource: &str, verbs: &[&str]) -> Self {
        Self {
            api_groups: vec![group.to_owned()],
            resources: vec![resource.to_owned()],
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            resource_names: Vec::new(),
        }
    }

    fn allows(&self, request: &ApiRequest) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|entry| entry == "*" || entry == item);
        let name = request.object_name().unwrap_or_default();
        has(&self.api_groups, request.kind.facts().group)
            && has(&self.resources, &request.resource())
            && has(&self.verbs, request.verb.word())
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|allowed| allowed == name))
    }
}

fn forbidden(user: &str, request: &ApiRequest) -> ApiError {
    let facts = request.kind.facts();
    let name = request.name.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let scope = match &request.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let message = format!(
        "{}{name} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
        request.kind,
        request.verb.word(),
        request.resource(),
        facts.group
    );
    let mut details = serde_json::json!({"kind": facts.plural});
    if !facts.group.is_empty() {
        details["group"] = facts.group.into();
    }
    if let Some(name) = &request.name {
        details["name"] = name.as_str().into();
    }
    ApiError { details: Some(Box::new(details)), ..ApiError::new(403, "Forbidden", message) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn request(method: &Method, uri: &str) -> ApiRequest {
        ApiRequest::parse(method, &uri.parse().unwrap(), &HeaderMap::new()).unwrap()
    }

    #[test]
    fn a_refusal_reads_as_that_of_a_real_api_server() {
        let access = Access::default();
        access.add_user("t", "x");
        let error = access.authorize("x", &request(&Method::GET, "/api/v1/secrets")).unwrap_err();
        let text =
            "secrets is forbidden: User \"x\" cannot list resource \"secrets\" in API group \"\" at the cluster scope";
        assert_eq!((error.code, error.message.as_str()), (403, text));
        let path = "/apis/networking.internal.knative.dev/v1alpha1/namespaces/ns/ingresses/shop/status";
        let error = access.authorize("x", &request(&Method::PATCH, path)).unwrap_err();
        let text = "ingresses.networking.internal.knative.dev \"shop\" is forbidden: User \"x\" cannot patch resource \
                    \"ingresses/status\" in API group \"networking.internal.knative.dev\" in the namespace \"ns\"";
        assert_eq!(error.message, text);
    }

    #[test]
    fn a_grant_in_a_namespace_is_for_that_namespace_only() {
        let access = Access::default();
        access.add_user("t", "x");
        access.grant("x", Some("ns"), vec![PolicyRule::new("", "secrets", &["get", "list"])]);
        let allowed = |uri| access.authorize("x", &request(&Method::GET, uri)).is_ok();
        assert!(allowed("/api/v1/namespaces/ns/secrets"));
        assert!(!allowed("/api/v1/namespaces/ns/secrets?watch=1"));
        assert!(!allowed("/api/v1/namespaces/other/secrets"));
        assert!(!allowed("/api/v1/secrets"));
    }

    #[test]
    fn a_rule_with_names_allows_to_list_one_object_by_its_name() {
        let access = Access::default();
        access.add_user("t", "x");
        let rule = PolicyRule::new("", "configmaps", &["get", "list"]);
        access.grant("x", None, vec![PolicyRule { resource_names: vec!["config".to_owned()], ..rule }]);
        let allowed = |uri| access.authorize("x", &request(&Method::GET, uri)).is_ok();
        assert!(allowed("/api/v1/namespaces/ns/configmaps/config"));
        assert!(allowed("/api/v1/namespaces/ns/configmaps?fieldSelector=metadata.name%3Dconfig"));
        assert!(!allowed("/api/v1/namespaces/ns/configmaps?fieldSelector=metadata.name%3Dother"));
        assert!(!allowed("/api/v1/namespaces/ns/configmaps"));
    }

    #[test]
    fn a_token_that_is_unknown_is_unauthorized() {
        let access = Access::default();
        access.add_user("t", "x");
        assert_eq!(access.authenticate(Some("Bearer t")).unwrap(), "x");
        for wrong in [None, Some("Bearer u"), Some("Basic t")] {
            assert_eq!(access.authenticate(wrong).unwrap_err().code, 401);
        }
    }
}
