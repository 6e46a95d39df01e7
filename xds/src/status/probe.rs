//! Whether the other gateways serve an object, asked as Knative's prober asks (knative.dev/networking `status.go`).
//!
//! A gateway answers a probe itself, from its tables, so it makes no difference whether a backend could.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::desk::Probe;
use super::metrics;
use super::wire::Api;
use crate::object::ObjectRef;
use crate::source::api::Verb;
use crate::source::api::request::Failure;

/// Questions at a time, as Knative's prober has it.
const QUESTIONS: usize = 15;

/// A gateway that has not answered by then is asked again.
const DEADLINE: Duration = Duration::from_secs(1);

/// Waits before each round; after the last one the object waits in the queue.
const ROUNDS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500)];

/// How long the list of gateways is used.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// Asks the other gateways: the ready endpoints of their Service.
#[derive(Debug)]
pub(super) struct Prober {
    api: Api,
    /// The Service that selects all gateways.
    service: ObjectRef,
    /// This one's pod, which need not be asked.
    identity: Arc<str>,
    others: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
    questions: Arc<Semaphore>,
}

impl Prober {
    pub(super) fn new(api: Api, service: ObjectRef, identity: Arc<str>) -> Self {
        let questions = Arc::new(Semaphore::new(QUESTIONS));
        Self { api, service, identity, others: Mutex::default(), questions }
    }

    /// True once every other gateway has said that it serves the object; false if that takes longer than a moment.
    pub(super) async fn confirm(&self, probe: &Probe) -> Result<bool, Failure> {
        let mut confirmed = HashSet::new();
        for wait in ROUNDS {
            sleep(wait).await;
            let others = self.others().await?;
            let missing = others.iter().copied().filter(|gateway| !confirmed.contains(gateway));
            let answers = self.ask(missing.collect(), probe).await;
            confirmed.extend(answers);
            if others.iter().all(|gateway| confirmed.contains(gateway)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Those of these gateways that serve the object.
    async fn ask(&self, gateways: Vec<SocketAddr>, probe: &Probe) -> Vec<SocketAddr> {
        let mut asked = JoinSet::new();
        for gateway in gateways {
            let (questions, probe) = (Arc::clone(&self.questions), probe.clone());
            asked.spawn(async move {
                let _permit = questions.acquire_owned().await;
                let serves = timeout(DEADLINE, serves(gateway, &probe)).await.unwrap_or(Answer::Unreachable);
                metrics::probed(serves.as_str());
                (serves == Answer::Confirmed).then_some(gateway)
            });
        }
        asked.join_all().await.into_iter().flatten().collect()
    }

    async fn others(&self) -> Result<Arc<[SocketAddr]>, Failure> {
        let mut known = self.others.lock().await;
        if let Some((at, others)) = &*known
            && at.elapsed() < LISTED_FOR
        {
            return Ok(Arc::clone(others));
        }
        let ObjectRef { namespace, name } = &self.service;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        );
        let list: SliceList = self.api.get(Verb::List, &path).await?;
        let others: Arc<[SocketAddr]> =
            list.items.iter().flat_map(|slice| slice.gateways(&self.identity)).collect::<Vec<_>>().into();
        *known = Some((Instant::now(), Arc::clone(&others)));
        Ok(others)
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Confirmed,
    /// It serves another version, or not at all.
    Different,
    Unreachable,
}

impl Answer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Different => "different",
            Self::Unreachable => "unreachable",
        }
    }
}

async fn serves(gateway: SocketAddr, probe: &Probe) -> Answer {
    question(gateway, probe).await.unwrap_or(Answer::Unreachable)
}

async fn question(gateway: SocketAddr, probe: &Probe) -> Option<Answer> {
    let stream = TcpStream::connect(gateway).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    // Ends when the answer and `sender` are gone.
    tokio::spawn(connection);
    let request = Request::get(&probe.path)
        .header("host", &probe.host)
        .header("user-agent", "Knative-Ingress-Probe")
        .header("k-network-probe", "probe")
        .header("k-network-hash", "override")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let hash = answer.headers().get("k-network-hash").and_then(|value| value.to_str().ok());
    let is_same = answer.status() == StatusCode::OK && hash == Some(&hex(probe.hash));
    Some(if is_same { Answer::Confirmed } else { Answer::Different })
}

fn hex(hash: [u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[derive(Debug, Deserialize)]
struct SliceList {
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Debug, Deserialize)]
struct Slice {
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    target_ref: Option<TargetRef>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct TargetRef {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

impl Slice {
    /// Where the other gateways that are ready answer plain HTTP.
    fn gateways(&self, identity: &str) -> Vec<SocketAddr> {
        let is_http = |port: &&Port| matches!(port.name.as_deref(), Some("http2" | "http" | "h2c"));
        let ports = self.ports.as_deref().unwrap_or_default();
        let port = ports.iter().find(is_http).or(ports.first()).and_then(|port| port.port);
        let Some(port) = port else { return Vec::new() };
        let is_other = |endpoint: &&Endpoint| endpoint.target_ref.as_ref().is_none_or(|pod| pod.name != identity);
        let ready = self.endpoints.iter().flatten().filter(|endpoint| endpoint.conditions.ready != Some(false));
        let addresses = ready.filter(is_other).filter_map(|endpoint| endpoint.addresses.first()?.parse().ok());
        addresses.map(|address: IpAddr| SocketAddr::new(address, port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_other_gateways_are_the_ready_endpoints_of_other_pods() {
        let endpoint = |address: &str, pod: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}});
        let slice: Slice = serde_json::from_value(json!({
            "endpoints": [endpoint("10.0.0.1", "me", true), endpoint("10.0.0.2", "other", true),
                          endpoint("10.0.0.3", "late", false), {"addresses": ["fd00::4"]}],
            "ports": [{"name": "https", "port": 8444}, {"name": "http2", "port": 8081}],
        }))
        .unwrap();
        let others: Vec<_> = slice.gateways("me").iter().map(ToString::to_string).collect();
        assert_eq!(others, ["10.0.0.2:8081", "[fd00::4]:8081"]);
    }

    #[test]
    fn a_service_without_endpoints_has_no_gateways() {
        let slice: Slice = serde_json::from_value(json!({"endpoints": null, "ports": null})).unwrap();
        assert!(slice.gateways("me").is_empty());
    }
}
