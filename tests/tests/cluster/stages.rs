//! What happens in the cluster by itself.

use std::net::SocketAddr;

use postern_tests::backend::Backend;
use postern_tests::client::get_plain;
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options, Stages};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::Value;
use tokio::net::TcpStream;

const REVISION: &str = "shop-00001";

/// A cluster whose time runs a hundred times as fast, with these stages in the place of built-in ones.
async fn start(changed: &str) -> Cluster {
    let stages = Stages::built_in().unwrap().and(Stages::parse(changed).unwrap());
    Cluster::start(Options { stages: Some(stages), speed: 100.0, ..Options::default() }).await.unwrap()
}

/// A stage of this name that never comes.
fn never(name: &str) -> String {
    format!("{{name: {name}, kind: pods, weight: 0, next: {{delete: true}}}}")
}

fn service() -> KnativeService {
    KnativeService::new("ns", "shop")
}

fn slice(cluster: &Cluster) -> Vec<Value> {
    let slice = cluster.get(Kind::EndpointSlice, "ns", REVISION);
    slice.and_then(|slice| slice["endpoints"].as_array().cloned()).unwrap_or_default()
}

fn pod(cluster: &Cluster) -> Value {
    cluster.get(Kind::Pod, "ns", &format!("{REVISION}-pod-0")).unwrap_or_default()
}

fn address(cluster: &Cluster) -> SocketAddr {
    let pod = pod(cluster);
    let port = &pod["spec"]["containers"][0]["ports"][0]["containerPort"];
    format!("{}:{port}", pod["status"]["podIP"].as_str().unwrap()).parse().unwrap()
}

/// Waits until the only endpoint has this readiness.
async fn endpoint_is_ready(cluster: &Cluster, ready: bool) {
    let only = async || {
        let endpoints = slice(cluster);
        ensure(endpoints.len() == 1 && endpoints[0]["conditions"]["ready"] == ready, || format!("{endpoints:?}"))
    };
    eventually("the endpoint's readiness", only).await.unwrap();
}

/// A cluster with a service whose only pod is Ready.
async fn start_with_pod(changed: &str) -> Cluster {
    let cluster = start(changed).await;
    cluster.apply_many(service().replicas(1).objects(cluster.ca()).unwrap()).unwrap();
    endpoint_is_ready(&cluster, true).await;
    listens(&cluster).await.unwrap();
    cluster
}

/// Waits until the pod's address accepts connections.
async fn listens(cluster: &Cluster) -> Result<()> {
    eventually("the pod listens", async || Ok(TcpStream::connect(address(cluster)).await.map(drop)?)).await
}

/// Waits until the pod's address refuses connections.
async fn refuses(address: SocketAddr) {
    let refused = async || ensure(TcpStream::connect(address).await.is_err(), || "it listens".to_owned());
    eventually("a refusal", refused).await.unwrap();
}

#[tokio::test]
async fn a_pod_becomes_ready_and_answers_and_its_endpoint_follows() {
    let cluster = start_with_pod("").await;
    let seen = get_plain(address(&cluster), "/").await.unwrap().seen().unwrap();
    assert_eq!(seen.backend, format!("{REVISION}-pod-0"));
    assert_eq!(cluster.pods().requests("ns", &seen.backend), Some(1));
    assert_eq!(slice(&cluster)[0]["addresses"][0], pod(&cluster)["status"]["podIP"]);
}

#[tokio::test]
async fn a_crashed_container_refuses_while_its_pod_is_still_ready() {
    let cluster = start_with_pod(&never("pod-restarts")).await;
    cluster.happen(Kind::Pod, "ns", &format!("{REVISION}-pod-0"), "crash").unwrap();
    refuses(address(&cluster)).await;
    assert_eq!(pod(&cluster)["status"]["conditions"][0]["status"], "True");
    endpoint_is_ready(&cluster, true).await;
}

#[tokio::test]
async fn a_crashed_container_comes_back_at_its_address() {
    let cluster = start_with_pod("").await;
    let before = address(&cluster);
    cluster.happen(Kind::Pod, "ns", &format!("{REVISION}-pod-0"), "crash").unwrap();
    let restarted = async || {
        let count = &pod(&cluster)["status"]["containerStatuses"][0]["restartCount"];
        ensure(count == 1, || format!("restarts: {count}"))
    };
    eventually("a restart", restarted).await.unwrap();
    listens(&cluster).await.unwrap();
    assert_eq!(address(&cluster), before);
}

#[tokio::test]
async fn a_container_that_is_oom_killed_makes_its_pod_unready() {
    let cluster = start_with_pod(&never("pod-restarts")).await;
    cluster.happen(Kind::Pod, "ns", &format!("{REVISION}-pod-0"), "oom").unwrap();
    endpoint_is_ready(&cluster, false).await;
    refuses(address(&cluster)).await;
}

#[tokio::test]
async fn a_terminating_pod_serves_while_it_drains() {
    let cluster = start_with_pod(&never("pod-terminates")).await;
    cluster.delete(Kind::Pod, "ns", &format!("{REVISION}-pod-0"));
    let terminating = async || {
        let endpoints = slice(&cluster);
        ensure(endpoints.iter().any(|endpoint| endpoint["conditions"]["terminating"] == true), || {
            format!("{endpoints:?}")
        })
    };
    eventually("a terminating endpoint", terminating).await.unwrap();
    assert!(get_plain(address(&cluster), "/").await.is_ok());
}

#[tokio::test]
async fn a_drained_pod_is_gone_and_refuses() {
    let cluster = start_with_pod("").await;
    let address = address(&cluster);
    cluster.scale("ns", REVISION, 0).unwrap();
    refuses(address).await;
    assert_eq!((cluster.count(Kind::Pod), slice(&cluster).len()), (0, 0));
}

#[tokio::test]
async fn a_service_wakes_behind_its_activator_and_goes_back_to_zero() {
    let activator = Backend::http1("activator").await.unwrap();
    let cluster = start("").await;
    cluster.apply_many(service().activator(activator.address()).replicas(0).objects(cluster.ca()).unwrap()).unwrap();
    let leads_to = async |address: String| {
        let there = async || {
            let endpoints = slice(&cluster);
            ensure(endpoints.first().is_some_and(|first| first["addresses"][0] == address.as_str()), || {
                format!("{endpoints:?}")
            })
        };
        eventually("the endpoint", there).await.unwrap();
    };
    leads_to(activator.address().ip().to_string()).await;
    cluster.happen(Kind::Service, "ns", REVISION, "wake").unwrap();
    eventually("a pod", async || ensure(cluster.count(Kind::Pod) == 1, || "none".to_owned())).await.unwrap();
    leads_to(address(&cluster).ip().to_string()).await;
    cluster.happen(Kind::Service, "ns", REVISION, "idle").unwrap();
    leads_to(activator.address().ip().to_string()).await;
}

/// The certificate in the service's Secret.
fn certificate(cluster: &Cluster) -> Option<String> {
    let secret = cluster.get(Kind::Secret, "ns", &service().secret_name())?;
    secret["data"]["tls.crt"].as_str().map(ToOwned::to_owned)
}

#[tokio::test]
async fn a_certificate_is_issued_renewed_and_revoked() {
    let cluster = start("").await;
    cluster.apply_many(service().objects_before_certificate()).unwrap();
    assert_eq!(certificate(&cluster), None);
    let issued = async || certificate(&cluster).ok_or_else(|| "none yet".into());
    let first = eventually("a certificate", issued).await.unwrap();
    cluster.happen(Kind::Secret, "ns", &service().secret_name(), "renew").unwrap();
    let renewed = async || ensure(certificate(&cluster).is_some_and(|now| now != first), || "the old one".to_owned());
    eventually("another certificate", renewed).await.unwrap();
    cluster.happen(Kind::Secret, "ns", &service().secret_name(), "revoke").unwrap();
    let revoked = async || ensure(certificate(&cluster).is_none(), || "still there".to_owned());
    eventually("no certificate", revoked).await.unwrap();
}

#[tokio::test]
async fn a_stage_fires_through_a_storm_of_changes() {
    // KWOK#958 lost the stage when an event came that matched nothing new.
    let cluster = start("").await;
    cluster.apply_many(service().replicas(1).objects(cluster.ca()).unwrap()).unwrap();
    eventually("a pod", async || ensure(cluster.count(Kind::Pod) == 1, || "none".to_owned())).await.unwrap();
    let mut round = 0;
    let storm = async || {
        for _ in 0..20 {
            round += 1;
            cluster.annotate(Kind::Pod, "ns", &format!("{REVISION}-pod-0"), "noise", &round.to_string())?;
        }
        let phase = pod(&cluster)["status"]["phase"].clone();
        ensure(phase == "Running", || format!("{phase} after {round} changes"))
    };
    eventually("the pod runs", storm).await.unwrap();
}
