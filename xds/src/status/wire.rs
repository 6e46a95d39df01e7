//! What is sent to the API server.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

use super::condition::{Condition, TYPES, Verdict};
use super::publication::Address;
use super::published::{Balancers, Published};
use crate::source::api::Verb;
use crate::source::api::request::{self, Failure};

/// The name under which fields are owned.
pub(crate) const MANAGER: &str = "postern";

/// No answer is larger: an object is at most 1.5 MiB in etcd, and nothing of this size is asked for in lists.
const MAX_BYTES: usize = 4 << 20;

/// The body of a patch that makes a KIngress' status say this.
pub(super) fn kingress_status(verdict: &Verdict, published: Published, balancers: &Balancers, now: Timestamp) -> Value {
    let conditions = verdict.conditions();
    let same = verdict.print(balancers).same_conditions(published.print());
    let since = |nth: usize| {
        let kept = Some(published.since()[nth]).filter(|seconds| same[nth] && *seconds != 0);
        let kept = kept.and_then(|seconds| Timestamp::from_second(seconds.into()).ok());
        kept.unwrap_or(now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    // Knative sorts conditions by type.
    let sorted = [1, 0, 2].map(|nth: usize| condition(TYPES[nth], &conditions[nth], &since(nth)));
    let mut status = json!({"observedGeneration": published.generation(), "conditions": sorted});
    if verdict.is_served() {
        status["publicLoadBalancer"] = json!(balancers.public);
        status["privateLoadBalancer"] = json!(balancers.private);
    }
    json!({"status": status})
}

fn condition(name: &str, condition: &Condition<'_>, since: &str) -> Value {
    let mut value = json!({"type": name, "status": condition.status, "lastTransitionTime": since});
    for (field, text) in [("reason", &condition.reason), ("message", &condition.message)] {
        if !text.is_empty() {
            value[field] = text.as_ref().into();
        }
    }
    value
}

/// The body of a patch that makes an Ingress' status say these addresses.
pub(super) fn ingress_status(addresses: &[Address]) -> Value {
    json!({"status": {"loadBalancer": {"ingress": addresses}}})
}

/// A time with microseconds, as Leases and Events have it.
pub(super) fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Requests with a deadline each.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    deadline: Duration,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline }
    }

    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, verb: Verb, path: &str) -> Result<T, Failure> {
        self.send(verb, Request::get(path).header(ACCEPT, "application/json").body(Vec::new())).await
    }

    /// Reads an object's metadata alone.
    pub(super) async fn metadata<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        self.send(Verb::Get, Request::get(path).header(ACCEPT, accept).body(Vec::new())).await
    }

    /// Changes an object by a merge patch (RFC 7386).
    pub(super) async fn patch(&self, path: &str, change: &Value) -> Result<(), Failure> {
        let path = format!("{path}?fieldManager={MANAGER}");
        let content = "application/merge-patch+json";
        let request = Request::patch(path).header(CONTENT_TYPE, content).body(change.to_string().into_bytes());
        self.send::<serde::de::IgnoredAny>(Verb::Patch, request).await.map(drop)
    }

    /// Creates an object in a collection, or replaces one, and reads what has become of it.
    pub(super) async fn put<T: DeserializeOwned>(&self, verb: Verb, path: &str, object: &Value) -> Result<T, Failure> {
        let method = if verb == Verb::Create { Method::POST } else { Method::PUT };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        self.send(verb, request.body(object.to_string().into_bytes())).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        verb: Verb,
        request: http::Result<Request<Vec<u8>>>,
    ) -> Result<T, Failure> {
        let request = request.map_err(|error| Failure::Unreadable { reason: error.to_string() })?;
        let body = request::send(&self.client, verb, request, self.deadline).await?;
        let read = tokio::time::timeout(self.deadline, request::collect(body, MAX_BYTES)).await;
        let bytes = read.unwrap_or(Err(Failure::Stalled { after: self.deadline }))?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::unreadable(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{KIngressStatus, LoadBalancer};

    fn balancers() -> Balancers {
        Balancers { public: LoadBalancer::internal("public.svc"), private: LoadBalancer::internal("private.svc") }
    }

    /// What a server holds after this patch.
    fn after(patch: &Value, generation: i64) -> Published {
        let status: KIngressStatus = serde_json::from_value(patch["status"].clone()).unwrap();
        let metadata = kube::core::ObjectMeta { generation: Some(generation), ..Default::default() };
        Published::of_kingress(&metadata, &status)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_what_was_wanted_when_it_comes_back() {
        for verdict in [Verdict::Served, Verdict::Waiting, Verdict::Conflict, Verdict::Failed("why".to_owned())] {
            let new = after(&json!({"status": {}}), 4);
            let patch = kingress_status(&verdict, new, &balancers(), at("2026-11-21T10:00:00Z"));
            assert_eq!(after(&patch, 4).print(), verdict.print(&balancers()), "{patch}");
        }
    }

    #[test]
    fn a_condition_that_stays_keeps_its_time() {
        let waiting = kingress_status(
            &Verdict::Waiting,
            after(&json!({"status": {}}), 1),
            &balancers(),
            at("2026-01-01T00:00:00Z"),
        );
        let ready = kingress_status(&Verdict::Served, after(&waiting, 1), &balancers(), at("2026-01-02T00:00:00.5Z"));
        let times: Vec<_> =
            (0..3).map(|nth| ready["status"]["conditions"][nth]["lastTransitionTime"].clone()).collect();
        assert_eq!(times, ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        let newer = kingress_status(&Verdict::Served, after(&ready, 2), &balancers(), at("2026-01-03T00:00:00Z"));
        assert_eq!(newer["status"]["conditions"], ready["status"]["conditions"]);
        assert_eq!(newer["status"]["observedGeneration"], 2);
    }

    #[test]
    fn a_ready_kingress_reads_as_knative_writes_it() {
        let patch = kingress_status(
            &Verdict::Served,
            after(&json!({"status": {}}), 1),
            &balancers(),
            at("2026-01-01T00:00:00Z"),
        );
        let condition =
            |name: &str| json!({"type": name, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let expected = json!({"status": {
            "observedGeneration": 1,
            "conditions": [condition("LoadBalancerReady"), condition("NetworkConfigured"), condition("Ready")],
            "publicLoadBalancer": {"ingress": [{"domainInternal": "public.svc"}]},
            "privateLoadBalancer": {"ingress": [{"domainInternal": "private.svc"}]},
        }});
        assert_eq!(patch, expected);
    }

    #[test]
    fn addresses_read_as_kubernetes_has_them() {
        let addresses = [Address::new("192.0.2.1"), Address::new("lb.example.com")];
        let expected = json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]);
        assert_eq!(ingress_status(&addresses)["status"]["loadBalancer"]["ingress"], expected);
    }
}
