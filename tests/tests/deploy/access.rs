//! A gateway that runs with the rights of the rendered roles, and asks for no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use postern_tests::backend::Backend;
use postern_tests::client::{Call, TlsClient, get_plain};
use postern_tests::cluster::{Cluster, Kind, KnativeService, Options as ClusterOptions, PolicyRule};
use postern_tests::deployed;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::manifests::{KIngress, PathRule, Rule as KRule};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rendered::{Rendered, list};

/// A gateway with the arguments of the Deployment, as its service account, on a cluster with one service.
struct World {
    cluster: Cluster,
    user: String,
    gateway: Gateway,
    /// The service's endpoint; gone when dropped.
    _backend: Backend,
    service: KnativeService,
}

impl World {
    async fn start(rendered: &Rendered, watch_list: bool) -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions { watch_list, ..ClusterOptions::default() }).await?;
        let backend = Backend::http1("cart").await?;
        let service = KnativeService::new("default", "cart").endpoint(backend.address());
        cluster.apply_many(service.objects(cluster.ca())?)?;
        cluster.apply_many(ingresses())?;
        cluster.apply(of_an_earlier_version())?;
        let namespace = rendered.one("Deployment")?["metadata"]["namespace"].as_str().ok_or("no namespace")?;
        cluster.apply(gateway_service(namespace, &rendered.arguments()?))?;
        let user = grant(rendered, &cluster)?;
        let mut options =
            Options::default().on_loopback().argument("--kubeconfig").argument(cluster.kubeconfig_of(&user)?);
        // The kubeconfig's namespace is not that of the pod.
        options = options.argument("--own-namespace").argument(namespace);
        for argument in rendered.arguments()?.into_iter().skip(1) {
            options = options.argument(argument);
        }
        // The service of this world has Postern's class in all variants.
        options = options.argument("--kingress-class").argument("postern.ingress.networking.knative.dev");
        let program = Program::new(env!("CARGO_BIN_EXE_postern-under-test"));
        let gateway = Gateway::start(&program, Path::new("/"), &options).await?;
        Ok(Self { cluster, user, gateway, _backend: backend, service })
    }

    /// A request over TLS, for which the Secret must be fetched.
    async fn ask(&self) -> Result<()> {
        let call = Call::get(&format!("https://{}/", self.service.external_host()));
        let reply = call.send(&self.gateway, &TlsClient::new(self.cluster.ca())?).await?;
        ensure(reply.status == 200, || format!("answered {}", reply.status))
    }

    /// The status and body of a page of a listener.
    async fn page(&self, listener: &str, path: &str) -> Result<(u16, String)> {
        let reply = get_plain(self.gateway.address(listener)?, path).await?;
        Ok((reply.status, reply.text()))
    }

    /// Waits until status and Event have been written.
    async fn has_reported(&self) -> Result<()> {
        eventually("status and event are written", async || {
            let status = |kind, name| self.cluster.get(kind, "default", name).unwrap_or_default()["status"].clone();
            let ready = list(&status(Kind::KIngress, "cart")["conditions"])
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            ensure(ready, || format!("the KIngress: {}", status(Kind::KIngress, "cart")))?;
            let address = status(Kind::Ingress, "web")["loadBalancer"]["ingress"][0]["ip"].clone();
            ensure(address == "192.0.2.1", || format!("the Ingress is said to be at {address}"))?;
            let earlier = self.cluster.get(Kind::KIngress, "default", "earlier").unwrap_or_default();
            ensure(list(&earlier["metadata"]["finalizers"]).is_empty(), || format!("a finalizer: {earlier}"))?;
            ensure(self.cluster.count(Kind::Event) > 0, || "no event".to_owned())
        })
        .await
    }

    /// What the gateway has asked for.
    fn asked(&self) -> BTreeSet<Right> {
        let requests = self.cluster.requests().recent().into_iter().filter(|request| request.user == self.user);
        requests
            .map(|request| {
                let facts = request.kind.facts();
                let subresource = if request.status { "/status" } else { "" };
                Right {
                    group: facts.group.to_owned(),
                    resource: format!("{}{subresource}", facts.plural),
                    verb: request.verb.word().to_owned(),
                }
            })
            .collect()
    }
}

/// An Ingress that is served, and one that is rejected.
fn ingresses() -> [Value; 2] {
    [("web", "/"), ("wrong", "no-path")].map(|(name, path)| {
        let backend = json!({"service": {"name": "cart-00001", "port": {"number": 80}}});
        let paths = json!([{"path": path, "pathType": "Prefix", "backend": backend}]);
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "default", "name": name},
            "spec": {"ingressClassName": "postern", "rules": [{"host": format!("{name}.test"), "http": {"paths": paths}}]},
        })
    })
}

/// A KIngress with the finalizer that earlier versions wrote.
fn of_an_earlier_version() -> Value {
    let finalizer = "ingresses.networking.internal.knative.dev";
    let rule = KRule::external(&["earlier.test"]).path(PathRule::to("cart-00001"));
    let mut kingress = KIngress::new("default", "earlier").rule(rule).object();
    let set = json!({format!("v:\"{finalizer}\""): {}});
    kingress["metadata"]["finalizers"] = json!([finalizer]);
    kingress["metadata"]["managedFields"] =
        json!([{"manager": "postern", "operation": "Update", "fieldsV1": {"f:metadata": {"f:finalizers": set}}}]);
    kingress
}

/// The Service that the gateway takes for its public one, with an address.
fn gateway_service(namespace: &str, arguments: &[String]) -> Value {
    let name = arguments.iter().find_map(|argument| argument.strip_prefix("--public-service=")).unwrap_or("postern");
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    })
}

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

fn rules(role: &Value) -> Result<Vec<PolicyRule>> {
    Ok(Vec::deserialize(&role["rules"])?)
}

/// All rights of the rendered roles.
fn granted(rendered: &Rendered) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for role in rendered.of("ClusterRole").chain(rendered.of("Role")) {
        for rule in rules(role)? {
            for (group, resource) in
                rule.api_groups.iter().flat_map(|group| rule.resources.iter().map(move |r| (group, r)))
            {
                rights.extend(rule.verbs.iter().map(|verb| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                }));
            }
        }
    }
    Ok(rights)
}

/// All rights of a service account, with the namespace in which each holds, once these objects are applied in turn: one of
/// the same kind, namespace and name replaces what was there.
fn rights_of(account: &Value, applied: &[&Rendered]) -> Result<BTreeSet<(String, Right)>> {
    let mut there = BTreeMap::new();
    for object in applied.iter().flat_map(|rendered| &rendered.0) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        there.insert([text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])], object.clone());
    }
    let objects = Rendered(there.into_values().collect());
    let mut rights = BTreeSet::new();
    for binding in objects.of("ClusterRoleBinding").chain(objects.of("RoleBinding")) {
        let (role, place) = (&binding["roleRef"], &binding["metadata"]["namespace"]);
        let is_for = |subject: &Value| {
            subject["name"] == account["metadata"]["name"] && subject["namespace"] == account["metadata"]["namespace"]
        };
        if list(&binding["subjects"]).iter().any(is_for) {
            let mut roles = objects.of(role["kind"].as_str().ok_or("no kind")?);
            let is_it = |it: &&Value| it["metadata"]["name"] == role["name"] && it["metadata"]["namespace"] == *place;
            let role = roles.find(is_it).ok_or_else(|| format!("no role for {binding}"))?;
            rights.extend(granted(&Rendered(vec![role.clone()]))?.into_iter().map(|right| (place.to_string(), right)));
        }
    }
    Ok(rights)
}

/// Gives the service account what the bindings say, and returns its name.
fn grant(rendered: &Rendered, cluster: &Cluster) -> Result<String> {
    let pod = &rendered.pod()?["spec"];
    let (account, namespace) = (&pod["serviceAccountName"], &rendered.one("Deployment")?["metadata"]["namespace"]);
    let account = account.as_str().ok_or("no service account")?;
    let namespace = namespace.as_str().ok_or("no namespace")?;
    rendered.named("ServiceAccount", account)?;
    let user = format!("system:serviceaccount:{namespace}:{account}");
    cluster.add_user(&user);
    for binding in rendered.of("ClusterRoleBinding").chain(rendered.of("RoleBinding")) {
        let is_ours = |subject: &Value| {
            subject["kind"] == "ServiceAccount" && subject["name"] == account && subject["namespace"] == namespace
        };
        ensure(list(&binding["subjects"]).iter().all(is_ours), || format!("others have rights too: {binding}"))?;
        let place = binding["metadata"]["namespace"].as_str();
        let (kind, name) = (binding["roleRef"]["kind"].as_str(), binding["roleRef"]["name"].as_str());
        let mut roles = rendered.of(kind.unwrap_or_default());
        let role = roles
            .find(|role| role["metadata"]["name"].as_str() == name && role["metadata"]["namespace"].as_str() == place);
        cluster.grant(&user, place, rules(role.ok_or_else(|| format!("no role for {binding}"))?)?);
    }
    Ok(user)
}

#[tokio::test]
async fn a_gateway_with_these_roles_serves_and_finds_nothing_that_it_may_not_read() -> Result<()> {
    let world = World::start(&Rendered::base()?, true).await?;
    world.ask().await?;
    let (status, faults) = world.page("admin", "/api/v1/faults").await?;
    let faults: Value = serde_json::from_str(&faults)?;
    assert!(status == 200 && list(&faults).iter().all(|fault| fault.to_string().contains("default/wrong")), "{faults}");
    Ok(())
}

#[tokio::test]
async fn the_roles_allow_what_a_gateway_asks_for_and_nothing_else() -> Result<()> {
    let base = Rendered::base()?;
    let mut asked = BTreeSet::new();
    // Some API servers stream lists and some do not; the rights must do for both.
    for watch_list in [true, false] {
        let world = World::start(&base, watch_list).await?;
        world.ask().await?;
        world.has_reported().await?;
        asked.extend(world.asked());
    }
    assert_eq!(granted(&base)?, asked);
    Ok(())
}

#[tokio::test]
async fn roles_in_a_namespace_are_enough_but_for_ingress_classes() -> Result<()> {
    let Some(namespaced) = Rendered::kustomize("overlays/namespaced").await? else { return Ok(()) };
    assert_eq!(namespaced.of("ClusterRole").count() + namespaced.of("ClusterRoleBinding").count(), 0);
    let world = World::start(&namespaced, true).await?;
    world.ask().await?;
    let (_, faults) = world.page("admin", "/api/v1/faults").await?;
    let faults: Value = serde_json::from_str(&faults)?;
    let faults: Vec<_> = list(&faults).iter().filter(|fault| !fault.to_string().contains("default/wrong")).collect();
    assert!(faults.len() == 1 && faults[0].to_string().contains("ingressclasses"), "{faults:?}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_in_the_place_of_kourier_has_the_rights_it_needs() -> Result<()> {
    let Some(kourier) = Rendered::kustomize("overlays/kourier").await? else { return Ok(()) };
    assert_eq!(granted(&kourier)?, granted(&Rendered::base()?)?);
    let world = World::start(&kourier, true).await?;
    world.ask().await?;
    world.has_reported().await?;
    let status = world.cluster.get(Kind::KIngress, "default", "cart").ok_or("gone")?["status"].clone();
    let name = |balancer: &str| status[balancer]["ingress"][0]["domainInternal"].clone();
    assert_eq!(name("publicLoadBalancer"), "kourier.kourier-system.svc.cluster.local");
    assert_eq!(name("privateLoadBalancer"), "kourier-internal.kourier-system.svc.cluster.local");
    Ok(())
}

#[tokio::test]
async fn a_base_and_an_overlay_that_are_both_applied_take_no_rights_from_each_other() -> Result<()> {
    let Some(kourier) = Rendered::kustomize("overlays/kourier").await? else { return Ok(()) };
    let base = Rendered::base()?;
    for own in [&base, &kourier] {
        let account = own.one("ServiceAccount")?;
        let alone = rights_of(account, &[own])?;
        assert!(!alone.is_empty());
        for both in [[&base, &kourier], [&kourier, &base]] {
            assert_eq!(rights_of(account, &both)?, alone);
        }
    }
    Ok(())
}

#[tokio::test]
async fn probes_and_scrapes_are_answered_where_they_are_sent() -> Result<()> {
    let base = Rendered::base()?;
    let world = World::start(&base, true).await?;
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &base.container()?[probe]["httpGet"];
        let (listener, path) = (get["port"].as_str().ok_or("no port")?, get["path"].as_str().ok_or("no path")?);
        assert_eq!(world.page(listener, path).await?.0, 200, "{probe}");
    }
    let annotations = &base.pod()?["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/scrape"], "true");
    let port: u64 = annotations["prometheus.io/port"].as_str().ok_or("no port")?.parse()?;
    let named = list(&base.container()?["ports"]).iter().find(|named| named["containerPort"] == port);
    let listener = named.and_then(|named| named["name"].as_str()).ok_or("no such port")?;
    let (status, metrics) = world.page(listener, annotations["prometheus.io/path"].as_str().ok_or("no path")?).await?;
    assert!(status == 200 && metrics.contains("postern_build_info"), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_metrics_that_the_readme_names_exist() -> Result<()> {
    let world = World::start(&Rendered::base()?, true).await?;
    world.ask().await?;
    let (readme, metrics) = (fs::read_to_string(deployed::folder().join("README.md"))?, world.gateway.metrics().await?);
    let names: BTreeSet<_> = readme.split('`').filter(|word| word.starts_with("postern_")).collect();
    assert!(!names.is_empty());
    for name in names {
        metrics.require(name)?;
    }
    Ok(())
}
