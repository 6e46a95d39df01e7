//! The client, and what the tests do with it again and again.

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Config, ResourceExt};
use postern_tests::cluster::{Cluster, Kind, Options};
use postern_tests::patience::PATIENCE;
use serde_json::{Value, json};
use tokio::time::timeout;

/// A cluster with a client that may do everything.
pub(crate) async fn start() -> (Cluster, Client) {
    start_with(Options::default()).await
}

pub(crate) async fn start_with(options: Options) -> (Cluster, Client) {
    let cluster = Cluster::start(options).await.unwrap();
    let client = client(&cluster, &cluster.token());
    (cluster, client)
}

/// A client over plain HTTP with this token, which does not try again by itself.
pub(crate) fn client(cluster: &Cluster, token: &str) -> Client {
    let mut config = Config::new(cluster.url().parse().unwrap());
    // Otherwise the client repeats what is answered by 429, 503 and 504 before anybody sees it.
    config.default_retry = false;
    config.auth_info.token = Some(token.to_owned().into());
    Client::try_from(config).unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name}, "data": {"key": value},
    })
}

pub(crate) fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

/// The API of a kind for which there is no type.
pub(crate) fn dynamic(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let facts = kind.facts();
    let kind = GroupVersionKind::gvk(facts.group, facts.version, facts.kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, facts.plural))
}

/// A watcher's event in short: `init`, `+name`, `done`, `~name`, `-name`, or the error's code or text.
pub(crate) fn short<K: kube::Resource>(event: Result<Event<K>, kube::runtime::watcher::Error>) -> String {
    use kube::runtime::watcher::Error;
    match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(object)) => format!("+{}", object.name_any()),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::Apply(object)) => format!("~{}", object.name_any()),
        Ok(Event::Delete(object)) => format!("-{}", object.name_any()),
        Err(Error::InitialListFailed(kube::Error::Api(status))) => format!("list {}", status.code),
        Err(Error::WatchStartFailed(kube::Error::Api(status))) => format!("start {}", status.code),
        Err(Error::WatchError(status)) => format!("watch {}", status.code),
        Err(Error::InitialListFailed(_)) => "list failed".to_owned(),
        Err(Error::WatchStartFailed(_)) => "start failed".to_owned(),
        Err(_) => "watch failed".to_owned(),
    }
}

/// The next event of a watcher, in short.
pub(crate) async fn next<K: kube::Resource>(
    events: &mut (impl Stream<Item = Result<Event<K>, kube::runtime::watcher::Error>> + Unpin),
) -> String {
    short(timeout(PATIENCE, events.next()).await.expect("an event in time").expect("a watcher never ends"))
}

/// The next events of a watcher, in short, up to and with the one that is awaited.
pub(crate) async fn until<K: kube::Resource>(
    events: &mut (impl Stream<Item = Result<Event<K>, kube::runtime::watcher::Error>> + Unpin),
    awaited: &str,
) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some(awaited) {
        seen.push(next(events).await);
    }
    seen
}

/// The status code with which a request was refused.
pub(crate) fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("not refused by the API: {other:?}"),
    }
}
