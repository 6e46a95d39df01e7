//! Names, ports, labels and settings: those of the objects with each other, and with the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use postern::config::GATEWAY_SETTINGS;
use postern::listener::ListenerName;
use postern_tests::Result;
use postern_tests::cluster::patch::merge;
use postern_tests::deployed;
use serde_json::{Value, json};
use xds::settings::Effect;

use crate::rendered::{Rendered, list, variants};

/// The listeners that can be reached from outside the pod.
fn reachable() -> BTreeMap<String, u64> {
    let listeners = ListenerName::ALL.into_iter().filter(|&name| name != ListenerName::Admin);
    listeners.map(|name| (name.to_string(), u64::from(name.default_port()))).collect()
}

fn default_of(setting: &str) -> &'static str {
    GATEWAY_SETTINGS.iter().find(|known| known.name == setting).expect("a setting").default
}

/// `port → targetPort` of a Service.
fn ports(service: &Value) -> BTreeMap<u64, &str> {
    let ports = list(&service["spec"]["ports"]).iter();
    ports.filter_map(|port| Some((port["port"].as_u64()?, port["targetPort"].as_str()?))).collect()
}

#[tokio::test]
async fn the_container_names_the_ports_of_all_listeners_but_admin() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let ports = list(&rendered.container()?["ports"]).iter();
        let ports: BTreeMap<_, _> = ports
            .filter_map(|port| Some((port["name"].as_str()?.to_owned(), port["containerPort"].as_u64()?)))
            .collect();
        assert_eq!(ports, reachable(), "{variant}");
        // The API server takes no longer names.
        assert!(ports.keys().all(|name| name.len() <= 15), "{variant}");
    }
    Ok(())
}

#[tokio::test]
async fn services_lead_to_the_listeners_of_their_visibility() -> Result<()> {
    for (variant, rendered) in variants().await? {
        if variant == "kourier" {
            assert_eq!(rendered.of("Service").count(), 0, "Kourier's are used");
            continue;
        }
        let (external, internal) =
            (rendered.named("Service", "postern")?, rendered.named("Service", "postern-internal")?);
        assert_eq!(external["spec"]["type"], "LoadBalancer", "{variant}");
        assert_eq!(internal["spec"]["type"], "ClusterIP", "{variant}");
        assert_eq!(ports(external), [(80, "external-http"), (443, "external-https")].into(), "{variant}");
        assert_eq!(ports(internal), [(80, "internal-http"), (443, "internal-https")].into(), "{variant}");
    }
    Ok(())
}

#[tokio::test]
async fn the_network_policy_lets_every_listener_be_reached() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let policy = &rendered.one("NetworkPolicy")?["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress"]), "{variant}");
        let rules = list(&policy["ingress"]).iter();
        let open =
            |rule: &Value| list(&rule["ports"]).iter().map(|port| port["port"].as_str().unwrap().to_owned()).collect();
        let (all, cluster): (Vec<&Value>, Vec<&Value>) = rules.partition(|rule| rule.get("from").is_none());
        let all: BTreeSet<String> = all.into_iter().flat_map(|rule| -> Vec<_> { open(rule) }).collect();
        let cluster: BTreeSet<String> = cluster.into_iter().flat_map(|rule| -> Vec<_> { open(rule) }).collect();
        assert_eq!(all, ["external-http", "external-https"].map(str::to_owned).into(), "{variant}");
        assert_eq!(all.union(&cluster).cloned().collect::<Vec<_>>(), reachable().into_keys().collect::<Vec<_>>());
    }
    Ok(())
}

/// Whether labels have all that a selector asks for.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object();
    wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

#[tokio::test]
async fn every_selector_finds_the_pods() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let labels = &rendered.pod()?["metadata"]["labels"];
        let mut selectors: Vec<_> = rendered.of("Service").map(|service| &service["spec"]["selector"]).collect();
        selectors.push(&rendered.one("Deployment")?["spec"]["selector"]["matchLabels"]);
        selectors.push(&rendered.one("PodDisruptionBudget")?["spec"]["selector"]["matchLabels"]);
        selectors.push(&rendered.one("NetworkPolicy")?["spec"]["podSelector"]["matchLabels"]);
        let constraints = list(&rendered.pod()?["spec"]["topologySpreadConstraints"]).iter();
        selectors.extend(constraints.map(|constraint| &constraint["labelSelector"]["matchLabels"]));
        for selector in selectors {
            assert!(selects(selector, labels), "{variant}: {selector}");
        }
        for monitor in rendered.of("ServiceMonitor") {
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            let found: Vec<_> =
                rendered.of("Service").filter(|service| selects(selector, &service["metadata"]["labels"])).collect();
            assert_eq!(found.len(), 1, "{variant}");
            assert_eq!(found[0]["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"], "{variant}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn objects_of_a_namespace_are_in_that_of_the_deployment_and_versions_are_that_of_the_workspace() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let deployment = rendered.one("Deployment")?;
        let namespace = &deployment["metadata"]["namespace"];
        assert_eq!(namespace, if variant == "kourier" { "kourier-system" } else { "postern-system" });
        for object in &rendered.0 {
            let kind = object["kind"].as_str().unwrap_or_default();
            if !matches!(
                kind,
                "Namespace" | "ClusterRole" | "ClusterRoleBinding" | "IngressClass" | "Role" | "RoleBinding"
            ) {
                assert_eq!(&object["metadata"]["namespace"], namespace, "{variant}: {kind}");
            }
            let version = &object["metadata"]["labels"]["app.kubernetes.io/version"];
            assert_eq!(version, env!("CARGO_PKG_VERSION"), "{variant}: {kind}");
        }
    }
    let image = &Rendered::base()?.container()?["image"].clone();
    assert_eq!(image, concat!("postern:", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[tokio::test]
async fn classes_are_those_that_the_gateway_looks_for() -> Result<()> {
    for (variant, rendered) in variants().await? {
        for class in rendered.of("IngressClass") {
            assert_eq!(class["metadata"]["name"], "postern", "{variant}");
            assert_eq!(class["spec"]["controller"], default_of("ingress-controller"), "{variant}");
        }
        assert_eq!(rendered.of("IngressClass").count(), usize::from(variant != "namespaced"), "{variant}");
        let kourier =
            rendered.arguments()?.contains(&"--kingress-class=kourier.ingress.networking.knative.dev".to_owned());
        assert_eq!(kourier, variant == "kourier");
    }
    Ok(())
}

/// Kourier's Services, as far as they say where they lead (net-kourier, `config/300-gateway.yaml`).
fn kourier_service(targets: [u64; 2]) -> Value {
    let [http, https] = targets;
    json!({"spec": {"selector": {"app": "3scale-kourier-gateway"}, "ports": [
        {"name": "http2", "port": 80, "targetPort": http}, {"name": "https", "port": 443, "targetPort": https},
    ]}})
}

#[tokio::test]
async fn the_patches_turn_the_services_of_kourier_to_the_pods_and_back() -> Result<()> {
    let Some(kourier) = Rendered::kustomize("overlays/kourier").await? else { return Ok(()) };
    let patch = |name: &str| -> Result<Value> {
        let file = deployed::folder().join("kustomize/overlays/kourier").join(name);
        Ok(serde_saphyr::from_str(&fs::read_to_string(file)?)?)
    };
    let (swap, rollback) = (patch("swap.patch.yaml")?, patch("rollback.patch.yaml")?);
    let of_kourier = [[8080, 8443], [8081, 8444]];
    let ours = [
        [ListenerName::ExternalHttp, ListenerName::ExternalHttps],
        [ListenerName::InternalHttp, ListenerName::InternalHttps],
    ];
    assert_eq!(ours.map(|names| names.map(|name| u64::from(name.default_port()))), of_kourier);
    for before in of_kourier.map(kourier_service) {
        let mut service = before.clone();
        merge(&mut service, &swap)?;
        assert!(selects(&service["spec"]["selector"], &kourier.pod()?["metadata"]["labels"]), "{service}");
        merge(&mut service, &rollback)?;
        assert_eq!(service, before);
    }
    Ok(())
}

#[test]
fn the_patch_of_config_network_names_the_class_that_is_served() -> Result<()> {
    let patch: Value =
        serde_saphyr::from_str(&fs::read_to_string(deployed::folder().join("config-network.patch.yaml"))?)?;
    assert_eq!(patch, json!({"data": {"ingress-class": default_of("kingress-class")}}));
    Ok(())
}

/// The example in `config-postern` has every key that a ConfigMap can set, with the default where there is one.
#[test]
fn the_example_of_settings_is_complete_and_says_the_defaults() -> Result<()> {
    let base = Rendered::base()?;
    let example = base.named("ConfigMap", "config-postern")?["data"]["_example"].as_str().ok_or("no example")?;
    let example: BTreeMap<String, String> = serde_saphyr::from_str(example)?;
    let settable: BTreeMap<_, _> = GATEWAY_SETTINGS
        .iter()
        .filter(|setting| setting.effect != Effect::Never)
        .map(|setting| (setting.name.to_owned(), setting.default))
        .collect();
    assert_eq!(example.keys().collect::<Vec<_>>(), settable.keys().collect::<Vec<_>>());
    for (name, default) in settable {
        assert!(default.is_empty() || example[&name] == default, "{name}: {} instead of {default}", example[&name]);
    }
    Ok(())
}

#[tokio::test]
async fn the_namespace_is_made_only_where_it_is_ours_alone() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let names: Vec<_> = rendered.of("Namespace").map(|namespace| &namespace["metadata"]["name"]).collect();
        let expected: &[&str] =
            if matches!(variant, "base" | "monitored" | "sealed" | "alerting") { &["postern-system"] } else { &[] };
        assert_eq!(names, expected, "{variant}");
    }
    Ok(())
}
